# SPDX-License-Identifier: GPL-3.0-or-later
"""A filmstrip with the waveform above it: what was said when, and what the mouth did.

    python tools/filmstrip.py film.mp4 voice.flac --output contact.png [--phones phones.json] [--frames 24] [--crop mouth]

Frames are decoded from the film itself. With phones (JSON whose "phones" are [phone, start, end] in seconds, as beside the
sample recordings), each picture is taken in the middle of a phone and labelled with it.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import av
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile


def film_frames(path: Path) -> tuple[list[np.ndarray], float]:
    """All pictures of a film (H, W, 3) uint8 and its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], rate


def moments(phones: list[dict], seconds: float, count: int) -> list[tuple[float, str]]:
    """(time, label) of the pictures to show: phone middles, thinned evenly, and pauses; even steps where none are known."""
    if not phones:
        return [((i + 0.5) / count * seconds, "") for i in range(count)]
    spoken = [((p["start"] + p["end"]) / 2, p["phone"]) for p in phones if p["start"] < seconds]
    ends = [(0.0, 0.0)] + [(p["start"], p["end"]) for p in phones] + [(seconds, seconds)]
    pauses = [((a[1] + b[0]) / 2, "pause") for a, b in pairwise(ends) if b[0] - a[1] > 0.3]
    count = min(max(count - len(pauses), 1), len(spoken))
    chosen = np.unique(np.linspace(0, len(spoken) - 1, count).round().astype(int))
    return sorted([spoken[i] for i in chosen] + pauses)


def draw(film: Path, voice: Path, output: Path, phones: list[dict], count: int, columns: int, crop: str) -> None:
    pictures, rate = film_frames(film)
    samples, sample_rate = soundfile.read(voice, dtype="float32", always_2d=True)
    samples = samples.mean(1)
    samples /= max(np.abs(samples).max(), 1e-6)
    shots = moments(phones, len(pictures) / rate, count)
    rows = -(-len(shots) // columns)
    figure = plt.figure(figsize=(columns * 1.5, 2.0 + rows * 1.65), dpi=100, facecolor="#202020", layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=[2.0, rows * 1.65])
    axis = top.subplots()
    bins = np.array_split(np.abs(samples), min(1500, len(samples)))
    envelope = np.array([part.max() for part in bins])
    seconds = (np.arange(len(bins)) + 0.5) / len(bins) * len(samples) / sample_rate
    axis.fill_between(seconds, envelope, -envelope, color="#7fb4d8", linewidth=0)
    axis.set(
        xlim=(0, max(len(samples) / sample_rate, len(pictures) / rate)), ylim=(-1.15, 1), yticks=[], facecolor="#202020"
    )
    axis.tick_params(colors="white")
    for phone in phones:
        axis.text((phone["start"] + phone["end"]) / 2, -1.12, phone["phone"], color="#ffd479", ha="center", fontsize=7)
    cells = np.atleast_1d(below.subplots(rows, columns)).ravel()
    for cell in cells:
        cell.axis("off")
    for cell, (moment, label) in zip(cells, shots, strict=False):
        picture = pictures[min(int(moment * rate + 0.5), len(pictures) - 1)]
        axis.axvline(moment, color="#ff7b72", linewidth=0.6)
        cell.imshow(mouth(picture) if crop == "mouth" else picture)
        cell.set_title(f"{label}  {moment:.2f} s", color="white", fontsize=8, pad=2)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, facecolor=figure.get_facecolor())
    plt.close(figure)


def mouth(picture: np.ndarray) -> np.ndarray:
    """The middle of the lower face of our close-up framing."""
    height, width = picture.shape[:2]
    return picture[int(height * 0.52) : int(height * 0.84), int(width * 0.32) : int(width * 0.68)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("voice", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--phones", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--crop", choices=["none", "mouth"], default="none")
    given = parser.parse_args()
    table = json.loads(given.phones.read_text())["phones"] if given.phones else []
    listed = [{"phone": phone, "start": start, "end": end} for phone, start, end in table]
    draw(given.film, given.voice, given.output, listed, given.frames, given.columns, given.crop)
    print(given.output)
