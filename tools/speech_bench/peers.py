# SPDX-License-Identifier: GPL-3.0-or-later
"""Other engines, as their users get them, in a folder to be thrown away (build/speech_bench): nothing of them ships.

npm installs the three JavaScript engines from node/package-lock.json, which pins versions and sha512; pip brings
openfacefx by its sha256. Answers are kept by engine, version and sound, because Rhubarb takes about as long as the sound
lasts. An engine that cannot run is a Missing with the reason.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ..speech.articulation import Phones, simple_phones
from .sets import ROOT_BUILD, Clip
from .visemes import VISEMES

HERE = Path(__file__).with_name("node")
NODE_MODULES = ROOT_BUILD / "node_modules"
ANSWERS = ROOT_BUILD / "answers"
OPENFACEFX = ROOT_BUILD / "openfacefx"
VERSIONS = {"rhubarb": "0.1.8", "headaudio": "0.1.0", "wawa": "0.0.2", "openfacefx": "0.24.0"}
OPENFACEFX_PIN = "openfacefx==0.24.0 --hash=sha256:f13482510d389992c42ad83b8f33576ac1d8a37ab2bfebd8539e9ed658d50003\n"

Shapes = list[tuple[str, float, float]]


class Missing(Exception):
    """An engine that cannot be run here; the message says why."""


def install_node() -> None:
    """The npm engines into NODE_MODULES. Raises Missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("node and npm are not installed (apt install nodejs npm, or pip install nodeenv)")
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = NODE_MODULES / ".loquent-lock"
    if stamp.is_file() and stamp.read_bytes() == lock:
        return
    ROOT_BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, ROOT_BUILD / name)
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=ROOT_BUILD, capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "no reason given")
        raise Missing(f"npm could not fetch it: {reason}")
    stamp.write_bytes(lock)


def _key(engine: str, clip: Clip) -> Path:
    digest = hashlib.sha256(np.ascontiguousarray(clip.audio.samples, "<f4").tobytes()).hexdigest()[:24]
    return ANSWERS / f"{engine}-{VERSIONS[engine]}" / f"{digest}.json"


def node_shapes(engine: str, clips: list[Clip]) -> dict[str, tuple[Shapes, float]]:
    """clip name -> (its cues, seconds of compute), answers kept. Raises Missing."""
    waiting = [clip for clip in clips if not _key(engine, clip).is_file()]
    if waiting:
        install_node()
        (ANSWERS / f"{engine}-{VERSIONS[engine]}").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            lines, by_name = [], {clip.name: clip for clip in waiting}
            for k, clip in enumerate(waiting):
                path = Path(scratch) / f"{k}.pcm"
                (np.clip(clip.audio.samples, -1, 1) * 32767).astype("<i2").tofile(path)
                lines.append(f"{clip.name}\t{path}\n")
            command = ["node", str(HERE / "run.mjs"), str(NODE_MODULES), engine]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # fmt: skip
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write("".join(lines))
                process.stdin.close()
                for line in process.stdout:
                    if line.startswith('{"name"'):
                        answer = json.loads(line)
                        _key(engine, by_name[answer["name"]]).write_text(json.dumps(answer), "utf8")
        if process.returncode:
            raise Missing(f"node left with {process.returncode}")
    out = {}
    for clip in clips:
        path = _key(engine, clip)
        if not path.is_file():
            raise Missing(f"no answer for '{clip.name}'")
        answer = json.loads(path.read_text("utf8"))
        out[clip.name] = [(s, float(b), float(e)) for s, b, e in answer["shapes"]], float(answer["seconds"])
    return out


# ---- openfacefx, fed with the true phones

ARPABET = {
    "a": "AA", "ɑ": "AA", "æ": "AE", "ɐ": "AH", "ʌ": "AH", "ɛ": "EH", "e": "EY", "ɪ": "IH", "i": "IY", "ə": "AH", "ɚ": "ER", "ɜ": "ER",
    "ɔ": "AO", "ɒ": "AO", "o": "OW", "ʊ": "UH", "u": "UW", "y": "UW", "ø": "UW", "œ": "ER", "ɨ": "IH", "ɯ": "UW", "ɤ": "AH", "p": "P",
    "b": "B", "m": "M", "f": "F", "v": "V", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "ɕ": "SH", "ʂ": "SH", "t": "T", "d": "D", "n": "N",
    "ɾ": "D", "l": "L", "r": "R", "θ": "TH", "ð": "DH", "k": "K", "ɡ": "G", "ŋ": "NG", "h": "HH", "x": "HH", "ʁ": "R", "ɹ": "R",
    "w": "W", "ɥ": "W", "j": "Y", "ç": "SH", "β": "B", "ʔ": "HH", "_": "sil",
}  # fmt: skip
"""Our simple phones -> the 39 it knows; those that English lacks by the nearest look of the mouth."""


def openfacefx_weights(phones: Phones, frames: int, fps: float) -> np.ndarray:
    """Viseme weights (frames, 15) by openfacefx's default coarticulation of these phones. Raises Missing."""
    if not (OPENFACEFX / "openfacefx").is_dir():
        OPENFACEFX.mkdir(parents=True, exist_ok=True)
        pin = ROOT_BUILD / "openfacefx.txt"
        pin.write_text(OPENFACEFX_PIN)
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--require-hashes",
            "--target",
            OPENFACEFX,
            "-r",
            pin,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = re.sub(
                r"\s+", " ", done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given"
            )
            raise Missing(f"pip could not fetch it: {reason}")
    if str(OPENFACEFX) not in sys.path:
        sys.path.append(str(OPENFACEFX))
    import openfacefx

    segments = [openfacefx.PhonemeSegment(ARPABET[s], b, e) for s, b, e in simple_phones(phones) if e > b]
    track = openfacefx.generate_from_alignment(segments, fps=60)
    weights, t = np.zeros((frames, len(VISEMES)), np.float32), np.arange(frames) / fps
    for curve in track.channels:
        if curve.keys and curve.name in VISEMES:
            keys = [key.time for key in curve.keys], [key.value for key in curve.keys]
            weights[:, VISEMES.index(curve.name)] = np.interp(t, *keys)
    return weights
