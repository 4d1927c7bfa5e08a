# SPDX-License-Identifier: GPL-3.0-or-later
"""Film strips of our mouth over Rhubarb's, on the same sentence: `python -m loquent.tools.speech_bench.strips [en fr zh]`.

Writes docs/images/speech_vs_rhubarb_<language>.png: the sound with its phones, how wide both mouths are open, and the head
`ada` by our rasteriser in the middle of phones: every p b m f v, then the longest others.
"""

import argparse
import json
from math import radians
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from ...core.geometry.cameras import look_at
from ...core.head.head import identity, load_head
from ...core.prior.generate import Controls
from ...core.prior.generate import generate as speak
from ...core.speech.audio import read_audio
from ...core.splats.avatar import builtin_avatars, load_avatar, performer, pose
from ...core.splats.rasterize import rasterize
from ..speech.articulation import BITTEN, SEALED, Phones, ended_with_the_sound
from . import metrics, peers, visemes
from .sets import CLIPS, FPS, Clip

OUT = Path(__file__).resolve().parents[2] / "docs" / "images"
NAMES = {"en": "English", "fr": "French", "zh": "Mandarin"}
COLUMNS = 15
SHOWN = {"A": "eɪ", "I": "aɪ", "O": "oʊ", "W": "aʊ", "Y": "ɔɪ", "Q": "əʊ", "ꭧ": "tʂ"}
"""Kokoro's letters for two sounds, as everybody writes them."""
COLOURS = {"Loquent": "#ff7b72", "Rhubarb": "#7fb4d8"}


def load(language: str) -> Clip:
    about = json.loads((CLIPS / "strips" / f"{language}.json").read_text("utf8"))
    audio = read_audio(CLIPS / "strips" / f"{language}.ogg")
    phones = ended_with_the_sound([(s, b, e) for s, b, e in about["phones"]], audio.samples, audio.seconds)
    return Clip(language, "strips", audio, phones, about["language"], about["voice"], about["text"])  # fmt: skip


def moments(phones: Phones, count: int) -> Phones:
    """The phones to show, in order."""
    spoken = [p for p in phones if p[0] != "_"]
    ranked = sorted(spoken, key=lambda p: (p[0] not in SEALED | BITTEN, p[1] - p[2]))
    return sorted(ranked[:count], key=lambda p: p[1])


def picture(actor, values: np.ndarray, size: int = 220) -> np.ndarray:
    """(size, size, 3) uint8: the lower face from the front."""
    camera = look_at((0.0, -0.02, 0.62), (0.0, -0.036, 0.02), fov_y=radians(10.2), width=size, height=size)
    layers = rasterize(pose(actor, values), camera, background=(0.05, 0.05, 0.05))
    linear = np.clip(np.asarray(layers.colour)[..., :3], 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * srgb + 0.5).astype(np.uint8)


def draw(language: str, out: Path, seed: int = 0) -> Path:
    clip = load(language)
    shapes, _ = peers.node_shapes("rhubarb", [clip])[clip.name]
    both = {
        "Loquent": speak(
            clip.audio, fps=FPS, seed=seed, controls=Controls(head_motion=0, gaze=0, brows=0, blink_rate=0)
        ).values,
        "Rhubarb": visemes.channels(visemes.weights_of(visemes.from_rhubarb(shapes), clip.frames, FPS)),
    }
    person, actor = identity(load_head()), performer(load_avatar(builtin_avatars()["ada"]))
    shown = moments(clip.phones, COLUMNS)
    plt.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK SC", "Droid Sans Fallback"]
    figure = plt.figure(figsize=(1.02 * len(shown), 4.75), dpi=100, facecolor="#1c1c1c", layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=[2.3, 2.35])
    sound, opening = top.subplots(2, 1, sharex=True)
    samples = clip.audio.samples
    bins = np.array([np.abs(part).max() for part in np.array_split(samples, 1200)])
    seconds = np.linspace(0, clip.audio.seconds, len(bins))
    sound.fill_between(seconds, bins, -bins, color="#8d99a6", linewidth=0)
    for symbol, begin, end in clip.phones:
        if symbol != "_":
            sound.text(
                (begin + end) / 2,
                -1.05,
                SHOWN.get(symbol, symbol),
                color="#ffd479",
                ha="center",
                va="bottom",
                fontsize=9,
            )
        if symbol in SEALED:
            opening.axvspan(begin, end, color="#ffd479", alpha=0.22, linewidth=0)
    sound.set(ylim=(-1.1, 0.85), yticks=[], xlim=(0, clip.audio.seconds))
    sound.set_title(f"{NAMES[language]}: {clip.text}", color="white", fontsize=10, loc="left")
    for name, values in both.items():
        gaps, _ = metrics.mouth(person, values)
        opening.plot(np.arange(len(gaps)) / FPS, np.maximum(gaps, 0), color=COLOURS[name], label=name, linewidth=1.3)
    opening.set_ylabel("open, mm", color="white", fontsize=8)
    opening.legend(loc="upper right", fontsize=7, facecolor="#1c1c1c", labelcolor="white", framealpha=0.6)
    for axis in (sound, opening):
        axis.set_facecolor("#1c1c1c")
        axis.tick_params(colors="white", labelsize=7)
        axis.spines[:].set_color("#555555")
    cells = below.subplots(2, len(shown))
    for k, (symbol, begin, end) in enumerate(shown):
        middle = (begin + end) / 2
        opening.axvline(middle, color="#777777", linewidth=0.5)
        for row, (name, values) in enumerate(both.items()):
            cell = cells[row][k]
            cell.imshow(picture(actor, values[min(round(middle * FPS), len(values) - 1)]))
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
            if row == 0:
                cell.set_title(f"{SHOWN.get(symbol, symbol)}  {middle:.2f}", color="#ffd479", fontsize=8, pad=2)
            if k == 0:
                cell.set_ylabel(name, color=COLOURS[name], fontsize=9)
    path = out / f"speech_vs_rhubarb_{language}.png"
    figure.savefig(path, facecolor=figure.get_facecolor())
    plt.close(figure)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(200, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(path, optimize=True)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", default=list(NAMES))
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    for language in given.languages or NAMES:
        path = draw(language, given.out)
        print(f"{path} {path.stat().st_size / 1e3:.0f} KB")
