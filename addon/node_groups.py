# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups for the compositor, made in the open file when they are first asked for and marked as assets.

Built of nodes that Blender 4.5 and 5.x share. A group that the user has changed is never made anew: it is found by name and
used as it is.
"""

from collections.abc import Callable
from typing import Any

import bpy

OVER = "Loquent Head over Plate"
MATTE = "Loquent Matte by Region"
GRAIN = "Loquent Grain Match"
LARGEST_GRAIN = 0.05
"""Scene-linear difference of a pixel from its neighbours above which it is an edge of the picture."""
WHOLE_GRAIN = 1.4
"""Deviation of white noise over the mean size of what a blur by two pixels takes from it; measured in Blender."""
MATTE_LAYERS = 3
"""Cryptomatte layers that a matte is made of: six things in a pixel, Blender's default of levels."""


def group(name: str) -> Any:
    """The node group of that name in the open file; made, and marked as an asset, where there is none yet."""
    found = bpy.data.node_groups.get(name)
    if found is not None and found.bl_idname == "CompositorNodeTree":
        return found
    tree = bpy.data.node_groups.new(name, "CompositorNodeTree")
    BUILDERS[name](_Builder(tree))
    tree.asset_mark()
    tree.asset_data.description = DESCRIPTIONS[name]
    tree.asset_data.author = "Loquent"
    return tree


class _Builder:
    """Nodes of one group, in columns from left to right."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.source = tree.nodes.new("NodeGroupInput")
        self.sink = tree.nodes.new("NodeGroupOutput")
        self._count = 0

    def input(
        self, name: str, kind: str, default: Any = None, low: float | None = None, high: float | None = None
    ) -> Any:
        socket = self.tree.interface.new_socket(name, in_out="INPUT", socket_type=f"NodeSocket{kind}")
        if default is not None:
            socket.default_value = default
        if low is not None:
            socket.min_value = low
        if high is not None:
            socket.max_value = high
        return self.source.outputs[name]

    def output(self, name: str, kind: str, value: Any) -> None:
        self.tree.interface.new_socket(name, in_out="OUTPUT", socket_type=f"NodeSocket{kind}")
        self.tree.links.new(value, self.sink.inputs[name])
        self.sink.location = (200 + 40 * self._count, 0)

    def node(self, kind: str, *inputs: Any, **settings: Any) -> Any:
        """A node with its first inputs given: sockets are linked, numbers set, None left alone."""
        node = self.tree.nodes.new(kind)
        node.location = (40 * self._count - 200, -160 * (self._count % 5))
        node.hide = True
        self._count += 1
        for name, value in settings.items():
            setattr(node, name, value)
        sockets = [socket for socket in node.inputs if socket.enabled]
        for socket, value in zip(sockets, inputs, strict=False):
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, socket)
            elif value is not None:
                socket.default_value = value
        return node

    def math(self, operation: str, *inputs: Any, clamp: bool = False) -> Any:
        return self.node("ShaderNodeMath", *inputs, operation=operation, use_clamp=clamp).outputs[0]

    def blur(self, value: Any, size: Any) -> Any:
        node = self.node("CompositorNodeBlur", value, size)
        if hasattr(node, "filter_type"):  # 5.x has a menu socket, which begins with Gaussian
            node.filter_type = "GAUSS"
        return node.outputs[0]

    def over(self, plate: Any, head: Any, factor: Any) -> Any:
        node = self.node("CompositorNodeAlphaOver")
        back, front = [s for s in node.inputs if s.type == "RGBA"]  # names differ between versions, order does not
        share = next(s for s in node.inputs if s.type == "VALUE")
        for value, socket in ((plate, back), (head, front), (factor, share)):
            self.tree.links.new(value, socket)
        return node.outputs[0]


def _over(b: _Builder) -> None:
    from .pixels import EMPTY_DEPTH

    plate, depth = b.input("Plate", "Color", (0, 0, 0, 1)), b.input("Plate Depth", "Float", float(EMPTY_DEPTH))
    head, its_depth = b.input("Head", "Color", (0, 0, 0, 0)), b.input("Head Depth", "Float", float(EMPTY_DEPTH))
    soft = b.input("Softness", "Float", 0.01, 0.0001, 1.0)
    amount = b.input("Opacity", "Float", 1.0, 0.0, 1.0)
    nearer = b.math("DIVIDE", b.math("SUBTRACT", depth, its_depth), soft)
    front = b.math("ADD", nearer, 0.5, clamp=True)
    # beside the head its depth says nothing; a mask of 0 there would eat into its soft edge
    beside = b.math("GREATER_THAN", its_depth, float(EMPTY_DEPTH) / 10)
    mask = b.node("CompositorNodeAntiAliasing", b.math("MAXIMUM", front, beside)).outputs[0]
    mask = b.math("MULTIPLY", mask, amount)
    b.output("Image", "Color", b.over(plate, head, mask))
    alpha = b.node("CompositorNodeSeparateColor", head).outputs["Alpha"]
    b.output("Mask", "Float", b.math("MULTIPLY", mask, alpha))


def _matte(b: _Builder) -> None:
    from ..core.splats.cryptomatte import number
    from ..core.splats.regions import REGIONS

    ranks = []
    for k in range(MATTE_LAYERS):
        layer = b.input(f"CryptoMaterial{k:02d}", "Color", (0, 0, 0, 0))
        split = b.node("CompositorNodeSeparateColor", layer).outputs
        ranks += [(split[0], split[1]), (split[2], split[3])]
    for region in REGIONS:
        total = None
        for code, coverage in ranks:
            # by their ratio: numbers may be far smaller than what Compare takes for equal
            same = b.math("COMPARE", b.math("DIVIDE", code, float(number(region))), 1.0, 1e-5)
            total = b.math("MULTIPLY_ADD", same, coverage, 0.0 if total is None else total)
        b.output(region.title(), "Float", total)


def _grain(b: _Builder) -> None:
    head, plate = b.input("Head", "Color", (0, 0, 0, 0)), b.input("Plate", "Color", (0, 0, 0, 1))
    strength = b.input("Strength", "Float", 1.0, 0.0, 4.0)
    size = b.input("Size", "Float", 1.0, 0.0, 8.0)
    # how much neighbouring pixels of the plate differ: its grain, and little of the picture since large steps are cut off
    green = b.node("CompositorNodeSeparateColor", plate).outputs[1]
    fine = b.math("ABSOLUTE", b.math("SUBTRACT", green, b.blur(green, (2.0, 2.0))))
    found: Any = LARGEST_GRAIN
    for _ in range(3):  # the mean of what is not an edge, each time with a better idea of what is one
        usual = b.node("CompositorNodeLevels", b.math("MINIMUM", fine, found)).outputs[0]
        found = b.math("MULTIPLY", usual, 3.0)
    found = b.math("MULTIPLY", usual, WHOLE_GRAIN)
    # noise of its own in every pixel and frame, the same in every render
    pixel = b.node("ShaderNodeSeparateXYZ", b.node("CompositorNodeImageCoordinates", head).outputs["Pixel"]).outputs
    frame = b.node("CompositorNodeSceneTime").outputs["Frame"]
    place = b.node("ShaderNodeCombineXYZ", pixel[0], pixel[1], frame).outputs[0]
    white = b.node("ShaderNodeTexWhiteNoise", place, noise_dimensions="3D").outputs["Color"]
    noise = b.node("CompositorNodeSeparateColor", b.blur(white, size)).outputs
    levels = b.node("CompositorNodeLevels", noise[0]).outputs
    channels = b.node("CompositorNodeSeparateColor", head).outputs
    unit = b.math("DIVIDE", b.math("MULTIPLY", found, strength), b.math("MAXIMUM", levels[1], 1e-6))
    amount = b.math("MULTIPLY", unit, channels["Alpha"])
    grained = [b.math("MULTIPLY_ADD", b.math("SUBTRACT", noise[k], levels[0]), amount, channels[k]) for k in range(3)]
    b.output("Image", "Color", b.node("CompositorNodeCombineColor", *grained, channels["Alpha"]).outputs[0])
    b.output("Amount", "Float", found)


BUILDERS: dict[str, Callable[[_Builder], None]] = {OVER: _over, MATTE: _matte, GRAIN: _grain}
DESCRIPTIONS = {
    OVER: "Heads over a plate, behind what is nearer in the plate's depth, with their soft edges kept",
    MATTE: "Mattes of skin, hair, eyes, teeth, lips, mouth and body from the Cryptomatte material passes of a head",
    GRAIN: "Gives a head the grain that is measured in the plate",
}
