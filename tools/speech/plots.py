# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten random clips with sound, phones and curves, to be looked at: `python -m loquent.tools.speech.plots --corpus FOLDER --out PNG`.

Red: p b m and the spans in which the lips shall be shut; green: f v; grey: silence.
"""

import argparse
from pathlib import Path

import numpy as np

from ...core.prior.mouth import OUTPUTS
from ...core.speech.encoder import frame_count
from . import articulation
from .clips import Source, hearing, sources
from .targets import targets

DRAWN = {
    "jawOpen": "black", "seal": "red", "bite": "green", "mouthPucker": "tab:blue", "mouthFunnel": "tab:cyan",
    "mouthStretch": "tab:orange", "mouthLowerDown": "tab:purple", "rest": "0.6",
}  # fmt: skip


def drawn(axes, clip: Source, which: int, captures: Path | None, seconds: float) -> None:
    samples = clip.samples()
    heard = hearing(samples, clip.source, clip.number, which)
    made = targets(clip, which, samples, heard, captures)
    curves, t = made["curves"].astype(float), np.arange(frame_count(len(heard.dry))) / 50
    begin = max(0.0, t[-1] / 2 - seconds / 2) if clip.source == "facegood" else 0.0
    sound = heard.dry / max(1e-6, np.abs(heard.dry).max())
    hissing = sound + np.random.default_rng(0).normal(0, 1e-6, len(sound))  # digital silence has no decibels
    axes[0].specgram(hissing, NFFT=256, Fs=16000, noverlap=160, cmap="Greys", vmin=-120, vmax=-40)
    axes[0].set_ylim(0, 7000)
    axes[0].plot(np.arange(len(sound))[::40] / 16000, 3500 + 3000 * sound[::40], lw=0.3, color="tab:blue")
    phones = list(zip(made["phone_symbols"].tolist(), made["phone_times"].tolist(), strict=True))
    for symbol, (first, last) in phones:
        colour = "red" if symbol in "pbm" else "green" if symbol in "fv" else "0.5"
        axes[0].axvline(first, color=colour, lw=0.6)
        axes[0].text((first + last) / 2, 5300, symbol, ha="center", fontsize=8, color=colour, clip_on=True)
    for _, first, last in articulation.closures([(s, b, e) for s, (b, e) in phones]):
        axes[1].axvspan(first, last, color="red", alpha=0.15, lw=0)
    for name, colour in DRAWN.items():
        if made["taught"][OUTPUTS.index(name)]:
            axes[1].plot(t, curves[:, OUTPUTS.index(name)], color=colour, lw=0.9, label=name)
    axes[1].set_ylim(0, 1.02)
    for ax in axes:
        ax.set_xlim(begin, begin + seconds)
        ax.set_xticks([])
        ax.set_yticks([])
    facts = f"{clip.name(which)}  {clip.facts['speaker']}  {clip.facts['language']}  habits {made['table']}: {clip.facts['text']}"
    axes[0].set_title(facts[:120], fontsize=7, loc="left", pad=2)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK JP", "WenQuanYi Zen Hei"]
    import logging

    import matplotlib.pyplot as plt
    from PIL import Image

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font that is absent is passed over
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--facegood", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.5)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    clips = [clip for clip in sources(arguments.corpus, arguments.facegood) if clip.source != "nobody"]
    kinds = sorted({clip.source for clip in clips})
    chosen = [kinds[i % len(kinds)] for i in range(10)]  # every source, else the slow engines would never be seen
    picked = [rng.choice([c for c in clips if c.source == kind]) for kind in chosen]  # type: ignore[arg-type]
    figure, axes = plt.subplots(20, 1, figsize=(11, 18), height_ratios=[1, 1.25] * 10)
    for i, clip in enumerate(picked):
        drawn(axes[2 * i : 2 * i + 2], clip, i % 2, arguments.facegood, arguments.seconds)
    axes[1].legend(loc="upper right", fontsize=6, ncols=4)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.985, hspace=0.22)
    figure.set_dpi(72)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]
    picture.quantize(96, Image.Quantize.FASTOCTREE).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
