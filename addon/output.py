# SPDX-License-Identifier: GPL-3.0-or-later
"""How a scene is written: video settings, and a compositor tree for scenes that Loquent itself has made."""

from pathlib import Path
from typing import Any

import bpy

from ..core.errors import FormatError


def set_output_video(scene: Any, path: Path | str, *, quality: str = "HIGH") -> None:
    """H.264 and AAC in an MP4 at the scene's rate; the path is used as it is, without frame numbers."""
    render = scene.render
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # 5.x: formats are offered by medium
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    settings.color_mode = "RGB"
    video = render.ffmpeg
    video.format = "MPEG4"
    video.codec = "H264"
    video.constant_rate_factor = quality
    video.ffmpeg_preset = "GOOD"
    video.gopsize = 12
    video.audio_codec = "AAC"
    video.audio_bitrate = 192
    render.filepath = str(path)
    render.use_file_extension = False
    render.use_sequencer = True


def setup_compositor(scene: Any, background: tuple[float, float, float] = (0.05, 0.055, 0.065)) -> None:
    """Render layers over a plain background.

    For scenes that were just made: it replaces the scene's tree, so never call it on a user's.
    """
    if hasattr(scene, "compositing_node_group"):  # 5.x
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layers = tree.nodes.new("CompositorNodeRLayers")
    colour = tree.nodes.new("CompositorNodeRGB")
    over = tree.nodes.new("CompositorNodeAlphaOver")
    colour.label = "Background"
    colour.outputs[0].default_value = (*background, 1)
    back, front = [s for s in over.inputs if s.type == "RGBA"]  # names differ between versions, order does not
    tree.links.new(colour.outputs[0], back)
    tree.links.new(layers.outputs["Image"], front)
    tree.links.new(over.outputs[0], output.inputs[0])
    for node, x, y in ((layers, -600, 200), (colour, -300, -200), (over, 0, 100), (output, 300, 100)):
        node.location = (x, y)
    scene.render.film_transparent = True
    scene.render.use_compositing = True


def save_blend(path: Path | str) -> None:
    """Save the open file whole or not at all; no backup is left. Raises FormatError where it cannot be written."""
    from ..core.files import written_whole

    path = Path(path).resolve()
    with written_whole(path) as temporary:
        temporary.unlink()  # or Blender keeps the empty file as a backup, `.blend1`
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(temporary), copy=True, compress=True, relative_remap=True)
        except RuntimeError as error:
            raise FormatError(f"Cannot write '{path}': {error}. Choose a folder you may write to.") from error
