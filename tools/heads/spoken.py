# SPDX-License-Identifier: GPL-3.0-or-later
"""Do a head's lips shut in its picture as they do in its motion? Recordings are spoken by the head, drawn, and looked at by MediaPipe.

    python -m loquent.tools.heads.spoken HEAD.loq [--seconds S]

Three rows of lip gaps, by the rules of tools/speech_bench/metrics.py: of the motion on the average head, on this head's own mesh, and
of the picture (landmarks 13 and 14, in eye distances). Lag: how late lips shut for p, b and m.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from loquent.core.adapt.footage import encoded
from loquent.core.capture.landmarker import Landmarker
from loquent.core.geometry.cameras import look_at
from loquent.core.head.head import load_head
from loquent.core.prior.generate import default_model, listen
from loquent.core.prior.perform import perform
from loquent.core.speech.audio import Audio, read_audio
from loquent.core.splats.avatar import Avatar, load_avatar, performer, pose
from loquent.core.splats.rasterize import rasterize

from ..capture.measure import lip_gap
from ..speech_bench.metrics import Closures, closure_lags, count_closures, mouth, mouth_only

SCENES = Path(__file__).resolve().parents[2] / "sample_scenes"
VOICES = ("voice_ada", "voice_bruno")
FPS, SIZE = 25.0, 320
ROWS = {"motion": "motion, average head", "mesh": "motion, this head", "render": "picture"}


def picture_gaps(avatar: Avatar, values: np.ndarray) -> np.ndarray:
    """(T,) lip gap of the drawn frames as MediaPipe sees it, in eye distances; NaN where it sees no face."""
    camera = look_at((0, 0.03, 0.9), (0, 0.0, 0), fov_y=np.radians(25), width=SIZE, height=SIZE)
    actor, out = performer(avatar), np.full(len(values), np.nan)
    with Landmarker() as landmarker:
        for k, row in enumerate(values):
            layers = rasterize(pose(actor, row), camera)
            picture = encoded(layers.colour + 0.18 * (1 - layers.alpha[..., None]))
            faces = landmarker.photo(np.round(picture * 255).astype(np.uint8))
            if faces:
                out[k] = lip_gap(faces[0].points[None])[0]
    return out


def rows(head: Path, seconds: float = 8.0, say: Callable[[str], None] = print) -> dict[str, float]:
    """Print the table; figures spoken_{motion, mesh, render}_{recall, false, lag_ms} and how far picture and mesh go together."""
    avatar, model = load_avatar(head), default_model()
    whole, own = mouth_only(load_head()), performer(avatar).identity
    counts = dict.fromkeys(ROWS, Closures())
    lags: dict[str, list[float]] = {name: [] for name in ROWS}
    together = []
    for voice in VOICES:
        told = json.loads((SCENES / f"{voice}.phones.json").read_text("utf-8"))["phones"]
        phones = [(symbol, begin, end) for symbol, begin, end in told if end < seconds - 0.2]
        audio = read_audio(SCENES / f"{voice}.flac")
        audio = Audio(audio.samples[: round(seconds * 16000)])
        values = perform(listen(audio, model=model), fps=FPS).values
        seen = picture_gaps(avatar, values)
        known = np.isfinite(seen)
        if known.mean() < 0.9:
            say(f"{voice}: MediaPipe saw a face in {known.mean():.0%} of the pictures")
        seen = np.interp(np.arange(len(seen)), np.flatnonzero(known), seen[known])
        gaps = {"motion": mouth(whole, values)[0], "mesh": mouth(own, values)[0], "render": seen}
        together.append(float(np.corrcoef(gaps["mesh"], seen)[0, 1]))
        for name, gap in gaps.items():
            counts[name] += count_closures(gap, FPS, phones)
            lags[name] += closure_lags(gap, FPS, phones)[0]
    figures: dict[str, float] = {"spoken_r": float(np.mean(together))}
    say(f"\n{head.name} speaks {len(VOICES)} recordings\n{'':24}{'p b m shut':>12}{'vowels shut':>13}{'lag, ms':>9}")
    for name, title in ROWS.items():
        found, late = counts[name], 1e3 * float(np.median(lags[name])) if lags[name] else float("nan")
        say(f"{title:24}{found.closed:>6} of {found.closures:<3}{found.false:>8} of {found.vowels:<3}{late:8.0f}")
        figures |= {
            f"spoken_{name}_recall": found.recall,
            f"spoken_{name}_false": found.false_rate,
            f"spoken_{name}_lag_ms": late,
        }
    say(f"picture against this head's mesh: r = {figures['spoken_r']:.3f}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each recording")
    given = parser.parse_args()
    rows(given.head, given.seconds)


if __name__ == "__main__":
    main()
