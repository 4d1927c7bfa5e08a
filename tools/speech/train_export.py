# SPDX-License-Identifier: GPL-3.0-or-later
"""The prior's networks as ONNX files for core/prior/model.py, any number of frames, optionally with half-precision weights."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.prior.denoiser import CHANNELS, STYLE
from ...core.prior.mouth import STYLE_NUMBERS

LARGE = 1024
"""Numbers from which on a weight is stored as float16."""


def _write(net: torch.nn.Module, example: tuple, path: Path, inputs: list[str], outputs: list[str], axes: dict) -> None:
    with warnings.catch_warnings():  # the newer exporter needs onnxscript and gives nothing more for these graphs
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, example, str(path), dynamo=False, opset_version=17, input_names=inputs, output_names=outputs,
            dynamic_axes=axes,
        )  # fmt: skip


def export(nets: Any, styles: dict[str, np.ndarray], folder: Path, half: bool = True) -> None:
    """speech.onnx, denoiser.onnx and style.onnx in `folder`. Styles and the channels' scale travel in the metadata.

    With `half`, large weights are stored as float16, and `nets` is rounded with them, so that both still agree.
    """
    import onnx

    nets.eval()
    if half:
        for p in nets.parameters():
            if p.numel() >= LARGE:
                p.data = p.data.half().float()
    shape, frames = nets.listener.shape, 90
    any_frames, one = {0: "batch", 1: "frames"}, {0: "batch"}
    heard = ["features", "mel", "style"]
    _write(
        nets.listener,
        (torch.zeros(2, frames, shape.features), torch.zeros(2, frames, shape.mels), torch.zeros(2, STYLE)),
        folder / "speech.onnx", heard, ["tokens", "mean", "states"],
        {"features": any_frames, "mel": any_frames, "style": one, "tokens": any_frames, "mean": any_frames,
         "states": {0: "batch", 1: "halves"}},
    )  # fmt: skip
    z = torch.zeros(2, frames, CHANNELS)
    inputs = ["noisy", "noise", "tokens", "style", "before", "known", "heard"]
    _write(
        nets.denoiser,
        (z, torch.zeros(2), torch.zeros(2, frames, shape.width), torch.zeros(2, STYLE), z, z[..., :1], torch.ones(2)),
        folder / "denoiser.onnx", inputs, ["raw"],
        {name: one if name in ("noise", "style", "heard") else any_frames for name in [*inputs, "raw"]},
    )  # fmt: skip
    _write(
        nets.style,
        (torch.zeros(2, STYLE_NUMBERS),),
        folder / "style.onnx",
        ["numbers"],
        ["style"],
        {"numbers": one, "style": one},
    )
    about = {
        "scale": nets.listener.scale.tolist(),
        "styles": {k: [round(float(x), 6) for x in v] for k, v in styles.items()},
    }
    for name in ("speech", "denoiser", "style"):
        model = onnx.load(str(folder / f"{name}.onnx"))
        if half:
            _halve(model)
        if name == "speech":
            entry = model.metadata_props.add()
            entry.key, entry.value = "loquent", json.dumps(about)
        onnx.checker.check_model(model)
        onnx.save(model, str(folder / f"{name}.onnx"))


def _halve(model: Any) -> None:
    """Large weights stored as float16 and cast back when the session loads: half the file, float32 arithmetic."""
    import onnx
    from onnx import numpy_helper

    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LARGE:
            continue
        name = tensor.name
        halved = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + "_half")
        graph.initializer.remove(tensor)
        graph.initializer.append(halved)
        casts.append(onnx.helper.make_node("Cast", [name + "_half"], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
