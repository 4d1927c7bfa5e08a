# SPDX-License-Identifier: GPL-3.0-or-later
"""How lively the upper face and the head are, beside people: `python -m loquent.tools.speech.life [--plot docs/images/liveliness.png]`.

Ours: the three sample recordings one after another, five minutes of them, eight seeds; mean and range over the seeds. Beside
it what was published, and one public address (shared/data/video, 20 s of one person, tracked by MediaPipe's face landmarker
at 25 fps: its speeds hold the tracker's jitter). The plot shows 30 s of channels for three seeds.
"""

import argparse
from pathlib import Path

import numpy as np

from ...core.head.motion import Motion
from ...core.prior import liveliness
from ...core.prior.generate import default_model, listen
from ...core.prior.mouth import OUTPUTS, RATE
from ...core.prior.perform import Raw, perform
from ...core.speech.audio import RATE as SAMPLES
from ...core.speech.audio import Audio, read_audio

SCENES = Path(__file__).resolve().parents[2] / "sample_scenes"
FPS = 100
SEEDS = 8
PEOPLE = {
    "blinks a minute": ("10.5 to 32.5 in conversation (Doughty 2001), mean 26 (Bentivoglio 1997)", "30"),
    "blink, ms half shut": ("", "80 to 160"),
    "lid falls, ms": ("75 to 110 (VanderWerf 2003 *)", "about 70"),
    "lid rises, ms": ("about 240 (VanderWerf 2003 *)", "about 200"),
    "blinks near a phrase's end, %": ("more than chance (Nakano and Kitazawa 2010 *)", ""),
    "the same by chance, %": ("", ""),
    "gaze shifts a minute": ("", ""),
    "gaze more than 2.5 deg away, %": ("about a quarter while talking (Lee 2002 *)", ""),
    "head pitch, deg std": ("", "3.7"),
    "head yaw, deg std": ("", "1.7"),
    "head roll, deg std": ("", "3.5"),
    "head speed, deg/s mean": ("", "10"),
    "head speed, deg/s 99 %": ("", "48"),
    "talking over silent head speed": ("above 1 (Hadar 1983 *)", ""),
    "nods a minute": ("", ""),
    "brow raises a minute": ("a minority of accents (Flecha-Garcia 2010 *)", ""),
    "brow before accent, ms": ("60 (Flecha-Garcia 2010 *)", ""),
    "breaths a minute": ("12 to 20 at rest *", ""),
}  # fmt: skip
"""Row -> what was published (* remembered, not re-read), what the tracked address shows."""


def speech(minutes: float) -> Raw:
    """The samples again and again; pauses of 0.6 s between them."""
    gap = np.zeros(int(0.6 * SAMPLES), np.float32)
    parts = [
        part
        for n in ("voice_ada", "voice_bruno", "voice_ada_fr")
        for part in (read_audio(SCENES / f"{n}.flac").samples, gap)
    ]
    raw = listen(Audio(np.concatenate(parts)[: sum(map(len, parts)) // SAMPLES * SAMPLES]), model=default_model())
    times = int(np.ceil(60 * minutes / raw.seconds))
    frames = int(raw.seconds * RATE)
    return Raw(
        np.tile(raw.curves[:frames], (times, 1)), np.tile(raw.levels[: frames // 2], times), np.tile(raw.pitch[: frames // 2], times),
        times * frames / RATE,
    )  # fmt: skip


def peaks(x: np.ndarray, least: float) -> np.ndarray:
    """Frames where x rises above `least`."""
    return np.flatnonzero((x[:-1] <= least) & (x[1:] > least))


def measured(raw: Raw, motion: Motion, seed: int) -> dict[str, float]:
    """The rows of PEOPLE for one seed."""
    minutes, c = motion.seconds / 60, motion.column
    heard = liveliness.hear(raw.curves[:: RATE // 50, OUTPUTS.index("rest")], raw.levels, raw.pitch)
    streams = np.random.default_rng(seed).spawn(7)
    ends = np.array([end for _, end in heard.phrases()])
    blink = c("eyeBlinkLeft")
    starts = peaks(blink, 0.5) / FPS
    near = [
        (np.abs(starts[:, None] - ends - shift - 0.15) < 0.35).any(1).mean() for shift in (0, *np.linspace(1, 3, 9))
    ]
    shapes = liveliness.blink_times(heard, streams[4], 16)
    resting = liveliness.fixations(heard, streams[5])
    away = np.degrees(np.hypot(*(liveliness.gaze(np.arange(0, motion.seconds, 0.02), heard, np.random.default_rng(seed).spawn(7)[5])[n] for n in ("gazePitch", "gazeYaw"))))  # fmt: skip
    head = np.degrees(np.stack([c(n) for n in ("headPitch", "headYaw", "headRoll")], 1))
    speed = np.linalg.norm(np.diff(head, axis=0), axis=1) * FPS
    talking = np.interp(np.arange(len(speed)) / FPS, np.arange(len(heard.talking)) / 50, heard.talking)
    nods = np.degrees(liveliness.nods(np.arange(len(motion)) / FPS, heard, streams[1])["headPitch"])
    raises = peaks(c("browOuterUpLeft"), 0.012) / FPS
    accents = heard.accents()[:, 0]
    lead = [accents[np.abs(accents - t - 0.06).argmin()] - t for t in raises]
    breath = liveliness.breaths(heard, np.random.default_rng(seed).spawn(7)[2])
    return {
        "blinks a minute": len(starts) / minutes,
        "blink, ms half shut": 1e3 * (blink > 0.5).sum() / FPS / max(len(starts), 1),
        "lid falls, ms": 1e3 * shapes[:, 1].mean(),
        "lid rises, ms": 1e3 * shapes[:, 3].mean(),
        "blinks near a phrase's end, %": 100 * near[0], "the same by chance, %": 100 * float(np.mean(near[1:])),
        "gaze shifts a minute": len(resting) / minutes, "gaze more than 2.5 deg away, %": 100 * (away > 2.5).mean(),
        "head pitch, deg std": head[:, 0].std(), "head yaw, deg std": head[:, 1].std(), "head roll, deg std": head[:, 2].std(),
        "head speed, deg/s mean": speed.mean(), "head speed, deg/s 99 %": np.percentile(speed, 99),
        "talking over silent head speed": speed[talking > 0.9].mean() / speed[talking < 0.1].mean(),
        "nods a minute": len(peaks(nods, 0.5)) / minutes, "brow raises a minute": len(raises) / minutes,
        "brow before accent, ms": 1e3 * float(np.median(lead)), "breaths a minute": (np.diff(breath[:, 1]) > 0.05).sum() / minutes,
    }  # fmt: skip


def shown(values: np.ndarray) -> str:
    digits = 0 if values.mean() >= 20 else 1
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def plot(raw: Raw, path: Path, seconds: float = 30) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = (
        ("blinks", ("eyeBlinkLeft",), 1), ("brows", ("browInnerUp", "browDownLeft"), 1), ("gaze, deg", ("gazeYaw", "gazePitch"), 57.3),
        ("head, deg", ("headYaw", "headPitch", "headRoll"), 57.3), ("breath, deg", ("neckPitch",), 57.3),
    )  # fmt: skip
    figure, axes = plt.subplots(1 + len(rows), 3, figsize=(15, 7.5), sharex=True, sharey="row")
    t = np.arange(int(seconds * FPS)) / FPS
    for column in range(3):
        motion = perform(raw, fps=FPS, seed=column)
        axis = axes[0, column]
        axis.plot(t, motion.column("jawOpen")[: len(t)], "k", lw=0.6)
        axis.set_title(f"seed {column}")
        axis.set_ylabel("jaw" if column == 0 else "")
        for axis, (label, names, scale) in zip(axes[1:, column], rows, strict=True):
            for name in names:
                axis.plot(t, scale * motion.column(name)[: len(t)], lw=0.7, label=name)
            axis.set_ylabel(label if column == 0 else "")
            if column == 2:
                axis.legend(fontsize=6, loc="upper right")
        axes[-1, column].set_xlabel("seconds")
    figure.tight_layout(h_pad=0.1)
    figure.savefig(path, dpi=75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    raw = speech(arguments.minutes)
    rows = [measured(raw, perform(raw, fps=FPS, seed=seed), seed) for seed in range(SEEDS)]
    print(f"{'':32}{'ours':26}{'one tracked address':22}published")
    for name, (published, tracked) in PEOPLE.items():
        print(f"{name:32}{shown(np.array([row[name] for row in rows])):26}{tracked:22}{published}")
    if arguments.plot:
        plot(raw, arguments.plot)


if __name__ == "__main__":
    main()
