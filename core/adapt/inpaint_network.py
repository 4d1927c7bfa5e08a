# SPDX-License-Identifier: GPL-3.0-or-later
"""The inpainter's network in torch, and the same as ONNX for core/splats/inpainter.py.

A U-Net of four levels, and two maps of its own that lie still in the picture: `plate`, what the film shows where the head is
not, at half size; and `memory`, features at a quarter of it, by which a convolution knows where it is. With them the
background behind a head need not be guessed from its surroundings. Its answer is what to add to the premultiplied render:
the plate behind it, and what the U-Net says.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..errors import CaptureError
from ..splats.inpainter import INPUTS, MULTIPLE, OUTPUT
from .environment import REQUIREMENTS

WIDTHS = (24, 32, 48, 64)
MEMORY = 8
OPSET = 17
CONVOLUTIONS = {
    "enter": (sum(INPUTS.values()), WIDTHS[0], 4, 2), "down2": (WIDTHS[0], WIDTHS[1], 3, 2),
    "own2": (WIDTHS[1] + MEMORY, WIDTHS[1], 3, 1), "down3": (WIDTHS[1], WIDTHS[2], 3, 2), "own3": (WIDTHS[2], WIDTHS[2], 3, 1),
    "down4": (WIDTHS[2], WIDTHS[3], 3, 2), "own4": (WIDTHS[3], WIDTHS[3], 3, 1),
    "up3": (WIDTHS[3] + WIDTHS[2], WIDTHS[2], 3, 1), "up2": (WIDTHS[2] + WIDTHS[1], WIDTHS[1], 3, 1),
    "up1": (WIDTHS[1] + WIDTHS[0], WIDTHS[0], 3, 1), "leave": (WIDTHS[0], 12, 3, 1),
}  # fmt: skip
"""Name -> channels in, channels out, side, stride; each pads by half its side."""


class InpaintNetwork(torch.nn.Module):
    """render (B, 4, H, W) premultiplied, frame (B, 3, H, W) with the hole cut out, mask (B, 1, H, W) -> residual (B, 3, H, W).

    H and W are multiples of 16. size: (height, width) of the pictures before they are padded to that. plate: (height, width, 3).
    """

    enter: torch.nn.Conv2d
    down2: torch.nn.Conv2d
    own2: torch.nn.Conv2d
    down3: torch.nn.Conv2d
    own3: torch.nn.Conv2d
    down4: torch.nn.Conv2d
    own4: torch.nn.Conv2d
    leave: torch.nn.Conv2d

    def __init__(self, size: tuple[int, int], plate: np.ndarray, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.size = size
        height, width = (side + -side % MULTIPLE for side in size)
        still = np.pad(plate, [(0, height - plate.shape[0]), (0, width - plate.shape[1]), (0, 0)], mode="edge")
        halved = still.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3)).transpose(2, 0, 1)
        self.plate = torch.nn.Parameter(torch.tensor(np.ascontiguousarray(halved), dtype=torch.float32)[None])
        self.memory = torch.nn.Parameter(torch.zeros(1, MEMORY, height // 4, width // 4))
        with torch.no_grad():
            self.memory.normal_(0, 0.1, generator=generator)
        for name, (into, out, side, stride) in CONVOLUTIONS.items():
            layer = torch.nn.Conv2d(into, out, side, stride, 1)
            with torch.no_grad():
                bound = (0.02 if name == "leave" else 1.0) * float(np.sqrt(6 / (into * side * side)))
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
            setattr(self, name, layer)

    def forward(self, render: Tensor, frame: Tensor, mask: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """corner: row and column, multiples of 16, at which these pictures lie in the whole one."""
        rows, columns = mask.shape[-2:]
        still = F.interpolate(self.plate, scale_factor=2, mode="bilinear", align_corners=False)
        still = still[..., corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
        top, left = corner[0] // 4, corner[1] // 4
        memory = self.memory[..., top : top + rows // 4, left : left + columns // 4].expand(len(mask), -1, -1, -1)
        one = self.enter(torch.cat([render, frame, mask], 1)).relu()
        two = self.own2(torch.cat([self.down2(one).relu(), memory], 1)).relu()
        three = self.own3(self.down3(two).relu()).relu()
        x = self.own4(self.down4(three).relu()).relu()
        for name, skip in (("up3", three), ("up2", two), ("up1", one)):
            x = getattr(self, name)(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], 1)).relu()
        return F.pixel_shuffle(self.leave(x), 2) + (1 - render[:, 3:]) * still

    def halve(self) -> None:
        """Round all weights to half precision, as they are stored."""
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(weight.half().float())


def export(network: InpaintNetwork, about: Mapping[str, str] | None = None) -> bytes:
    """The network as ONNX, weights in half precision, computing in single; the same pictures within 1e-4 once halved.

    Raises CaptureError where the package `onnx` is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as error:
        raise CaptureError(
            f"The inpainter cannot be written ({error}). Install it: pip install {REQUIREMENTS['onnx']}"
        ) from error
    nodes, constants = [], []

    def node(kind: str, inputs: list[str], name: str, **settings: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], **settings))
        return name

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(name: str, values: Tensor) -> str:
        stored = constant(f"{name}.half", values.detach().numpy().astype(np.float16))
        return node("Cast", [stored], name, to=TensorProto.FLOAT)

    def convolved(name: str, source: str, relu: bool = True) -> str:
        layer = getattr(network, name)
        _, _, side, stride = CONVOLUTIONS[name]
        inputs = [source, weight(f"{name}.weight", layer.weight), weight(f"{name}.bias", layer.bias)]
        out = node(
            "Conv", inputs, f"{name}.out", kernel_shape=[side, side], strides=[stride, stride], pads=[1, 1, 1, 1]
        )
        return node("Relu", [out], f"{name}.relu") if relu else out

    def doubled(source: str, name: str, **settings: Any) -> str:
        return node("Resize", [source, "", "twice"], name, **settings)

    constant("twice", np.array([1, 1, 2, 2], np.float32))
    given = node("Concat", list(INPUTS), "given", axis=1)
    one = convolved("enter", given)
    two = convolved(
        "own2", node("Concat", [convolved("down2", one), weight("memory", network.memory)], "known", axis=1)
    )
    three = convolved("own3", convolved("down3", two))
    x = convolved("own4", convolved("down4", three))
    for name, skip in (("up3", three), ("up2", two), ("up1", one)):
        large = doubled(
            x,
            f"{name}.large",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        x = convolved(name, node("Concat", [large, skip], f"{name}.both", axis=1))
    said = node("DepthToSpace", [convolved("leave", x, relu=False)], "said", blocksize=2, mode="CRD")
    still = doubled(weight("plate", network.plate), "still", mode="linear", coordinate_transformation_mode="half_pixel")
    # 1 - alpha by a 1 x 1 convolution: slicing would be one more operator to admit
    constant("minus.weight", np.array([0, 0, 0, -1], np.float32).reshape(1, 4, 1, 1))
    constant("minus.bias", np.ones(1, np.float32))
    behind = node("Conv", ["render", "minus.weight", "minus.bias"], "behind", kernel_shape=[1, 1])
    node("Add", [said, node("Mul", [behind, still], "plate.behind")], OUTPUT)
    height, width = (side + -side % MULTIPLE for side in network.size)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, height, width])
        for name, count in INPUTS.items()
    ]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 3, height, width])
    graph = helper.make_graph(nodes, "inpainter", inputs, [output], constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="loquent", ir_version=8
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "loquent", json.dumps({"size": list(network.size), **(about or {})})
    checker.check_model(model)
    return model.SerializeToString()
