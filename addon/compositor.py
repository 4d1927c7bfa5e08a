# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's compositing tree: what is there is found, what is needed is added, nothing else is touched."""

from typing import Any

import bpy

from . import node_groups
from .node_groups import MATTE, MATTE_LAYERS, OVER

ENGINE = "LOQUENT"


def tree_of(scene: Any) -> Any:
    """The scene's compositing tree; where it has none, a new one that shows the render as before."""
    if hasattr(scene, "compositing_node_group"):  # 5.x
        tree = scene.compositing_node_group
        if tree is None:
            tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
            scene.compositing_node_group = tree
    else:
        if not scene.use_nodes:
            scene.use_nodes = True  # Blender adds its own two nodes where there are none
        tree = scene.node_tree
    if output_of(tree) is None:
        new = hasattr(scene, "compositing_node_group")
        output = tree.nodes.new("NodeGroupOutput" if new else "CompositorNodeComposite")
        output.location = (600, 0)
    socket = output_of(tree)
    if not socket.is_linked and not any(node.type == "R_LAYERS" for node in tree.nodes):
        layers = layers_node(tree, scene, scene.view_layers[0].name)
        tree.links.new(layers.outputs["Image"], socket)
    return tree


def output_of(tree: Any) -> Any:
    """The socket that takes the finished picture; None without one."""
    kinds = {"COMPOSITE", "GROUP_OUTPUT"}
    nodes = [node for node in tree.nodes if node.type in kinds and not node.mute]
    nodes.sort(key=lambda node: not getattr(node, "is_active_output", True))
    return next((node.inputs[0] for node in nodes if len(node.inputs) and node.inputs[0].type == "RGBA"), None)


def layers_node(tree: Any, scene: Any, layer: str) -> Any:
    """The Render Layers node of that scene and view layer, added where there is none."""
    for node in tree.nodes:
        if node.type == "R_LAYERS" and node.scene == scene and node.layer == layer:
            node.scene = scene  # its sockets are made anew only when it is set: passes may have been added
            return node
    node = tree.nodes.new("CompositorNodeRLayers")
    node.scene, node.layer = scene, layer
    _below(tree, node, "left")
    return node


def _below(tree: Any, node: Any, side: str) -> None:
    """Out of the way: under everything, at the side of the tree where such nodes stand."""
    others = [other for other in tree.nodes if other != node and other.type != "FRAME"]
    xs = [other.location.x for other in others] or [0.0]
    node.location = (min(xs) if side == "left" else max(xs) - 250, min([o.location.y for o in others] or [0.0]) - 420)


def add_over(scene: Any, head_scene: Any, *, insert: bool = True) -> Any:
    """Render layers of the head's scene and the group that puts them over the plate. The group's node.

    insert: the picture that went to the output goes through the group; one link is replaced. Otherwise the plate is read
    from there and the user links the group's result.
    """
    tree = tree_of(scene)
    output = output_of(tree)
    layer = head_scene.view_layers[0]
    layer.use_pass_z = True
    layer.update_render_passes()
    heads = layers_node(tree, head_scene, layer.name)
    node = _group_node(tree, OVER)
    link = tree.links.new
    link(heads.outputs["Image"], node.inputs["Head"])
    link(heads.outputs["Depth"], node.inputs["Head Depth"])
    plate = _source(output)
    if plate is not None and plate.node != heads:  # drawn by Loquent alone: the plate is still to be chosen
        link(plate, node.inputs["Plate"])
    set_layers = _layers_of_plate(tree, scene)
    if set_layers is not None and set_layers != heads:
        scene.view_layers[set_layers.layer].use_pass_z = True
        scene.view_layers[set_layers.layer].update_render_passes()
        link(set_layers.outputs["Depth"], node.inputs["Plate Depth"])
    node.location = (output.node.location.x - 60, output.node.location.y - 260)
    if insert:
        link(node.outputs["Image"], output)
    return node


def add_matte(scene: Any, head_scene: Any) -> Any:
    """Render layers of the head's scene and the group that makes mattes of them. The group's node."""
    tree = tree_of(scene)
    layer = head_scene.view_layers[0]
    layer.use_pass_cryptomatte_material = True
    layer.pass_cryptomatte_depth = max(layer.pass_cryptomatte_depth, 2 * MATTE_LAYERS)
    layer.update_render_passes()
    heads = layers_node(tree, head_scene, layer.name)
    node = _group_node(tree, MATTE)
    for k in range(MATTE_LAYERS):
        tree.links.new(heads.outputs[f"CryptoMaterial{k:02d}"], node.inputs[k])
    node.location = (heads.location.x + 320, heads.location.y - 120)
    return node


def add_grain(scene: Any, head_scene: Any, *, insert: bool = True) -> Any:
    """The group that gives the head the plate's grain, before it goes over the plate. The group's node."""
    tree = tree_of(scene)
    over = next((n for n in tree.nodes if n.type == "GROUP" and n.node_tree == bpy.data.node_groups.get(OVER)), None)
    layer = head_scene.view_layers[0]
    heads = layers_node(tree, head_scene, layer.name)
    node = _group_node(tree, node_groups.GRAIN)
    plate = _source(over.inputs["Plate"]) if over else _source(output_of(tree))
    head = (_source(over.inputs["Head"]) if over else None) or heads.outputs["Image"]
    tree.links.new(head, node.inputs["Head"])
    if plate is not None:
        tree.links.new(plate, node.inputs["Plate"])
    if over is not None and insert:
        tree.links.new(node.outputs["Image"], over.inputs["Head"])
        node.location = (over.location.x - 220, over.location.y - 160)
    else:
        node.location = (heads.location.x + 320, heads.location.y)
    return node


def _group_node(tree: Any, name: str) -> Any:
    node = tree.nodes.new("CompositorNodeGroup")
    node.node_tree = node_groups.group(name)
    node.label = name.removeprefix("Loquent ")
    node.width = 200
    return node


def _source(socket: Any) -> Any:
    return socket.links[0].from_socket if socket is not None and socket.is_linked else None


def _layers_of_plate(tree: Any, scene: Any) -> Any:
    """The node that renders the plate itself, for its depth."""
    nodes = [node for node in tree.nodes if node.type == "R_LAYERS" and node.scene == scene]
    return nodes[0] if nodes else None


def head_scene_of(scene: Any) -> Any:
    """The linked scene that draws this scene's heads; None where there is none yet."""
    return next((s for s in bpy.data.scenes if s != scene and s.loquent_render.plate == scene), None)


def make_head_scene(scene: Any) -> Any:
    """A scene of the same collections, drawn by Loquent on a transparent film; the one there is, if it was made before.

    Its view layer has the exclusions of the first one here. The scene itself is not changed.
    """
    found = head_scene_of(scene)
    if found is not None:
        return found
    made = bpy.data.scenes.new(f"{scene.name} Heads")
    for child in scene.collection.children:
        made.collection.children.link(child)
    for ob in scene.collection.objects:
        made.collection.objects.link(ob)
    _copy(scene, made)
    made.loquent_render.plate = scene
    made.camera = scene.camera
    made.world = scene.world
    made.frame_set(scene.frame_current, subframe=scene.frame_subframe)
    for marker in scene.timeline_markers:
        copy = made.timeline_markers.new(marker.name, frame=marker.frame)
        copy.camera = marker.camera
    made.view_layers[0].name = "Heads"
    _exclude_alike(scene.view_layers[0].layer_collection, made.view_layers[0].layer_collection)
    return made


RENDER_SETTINGS = (
    "resolution_x", "resolution_y", "resolution_percentage", "pixel_aspect_x", "pixel_aspect_y", "fps", "fps_base",
    "use_motion_blur", "motion_blur_shutter", "motion_blur_position", "use_multiview", "views_format",
)  # fmt: skip


def _copy(scene: Any, made: Any) -> None:
    for name in RENDER_SETTINGS:
        setattr(made.render, name, getattr(scene.render, name))
    made.frame_start, made.frame_end = scene.frame_start, scene.frame_end
    made.render.engine = ENGINE
    made.render.film_transparent = True
    made.render.use_compositing = made.render.use_sequencer = False
    made.view_settings.view_transform = scene.view_settings.view_transform
    for name in ("lens_samples", "motion_samples", "use_holdout"):
        setattr(made.loquent_render, name, getattr(scene.loquent_render, name))


def _exclude_alike(one: Any, other: Any) -> None:
    for child in one.children:
        twin = other.children.get(child.name)
        if twin is not None:
            twin.exclude, twin.holdout, twin.indirect_only = child.exclude, child.holdout, child.indirect_only
            _exclude_alike(child, twin)
