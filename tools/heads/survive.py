# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads from films that are not perfect, beside heads from the same films unhurt.

    python3.11 dev.py bench heads -- --only survive [--ten-minutes]
    python -m loquent.tools.heads.survive [--films FOLDER] [--steps N] [--only NAME ...] [--ten-minutes] [--sheets FOLDER]

damage.py makes the films. Each becomes a head in a process of its own, on one core, with the same few steps on pictures of 160 pixels;
then the head is drawn over grey as the film moved it, and held against the good pictures: PSNR of the head's region over evenly
chosen pictures, and where the head's landmarks lie beside MediaPipe's in those and in every picture near the damage. docs/capture.md
explains the table.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loquent.core.errors import CaptureError

FILMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
ADDRESS, SPEAKER = "obama_weekly_20s_450.mp4", "GRID_lbbc2a.mpg"
STEPS, SIZE, FRAMES = 100, 160, 64
MARGIN_DB, WORST = 1.0, 4.0
"""A film is survived when its head is at most so much worse than the unhurt film's, and its landmarks nowhere further off than so many
hundredths of the face's height more: a centimetre, which a head moves and a jaw opens unseen behind a hand."""
LATER = 330
"""The picture that a jump cut goes to: another pose, ten seconds on."""
SHOWN = 8
KEPT_EVERY = 25
"""Steps between checkpoints here, where there are few."""
LONG_STEPS = 60


@dataclass
class Made:
    """What a process told: seconds and peak memory (MB) by stage, and at its end what it found."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    found: int = 0
    frames: int = 0
    used: int = 0
    cuts: list[int] = field(default_factory=list)
    error: str = ""

    @property
    def minutes(self) -> float:
        return sum(self.seconds.values()) / 60

    @property
    def peak(self) -> float:
        return max(self.memory.values(), default=0.0)


# --- the process that makes a head


def make(given: argparse.Namespace) -> None:
    """Make one head, telling every stage on standard output as lines of JSON."""
    from loquent.core.adapt import footage, video_fit
    from loquent.core.adapt.consent import Consent
    from loquent.core.adapt.video import VideoOptions, head_from_video
    from loquent.core.splats.avatar import save_avatar

    video_fit.SAVE_EVERY = KEPT_EVERY
    if given.learn:
        footage.chosen_frames = lambda track: np.array(given.learn)
    clock = _Clock()
    consent = Consent("A public person", "A benchmark of a published film; not shown, not kept.")
    options = VideoOptions(
        "Film",
        consent,
        given.work,
        given.steps,
        False,
        given.style,
        size=given.size,
        threads=1,
        held_out=given.held_out,
    )
    try:
        result = head_from_video(given.make, options, clock)
    except CaptureError as error:
        clock.tell(error=str(error))
        return
    save_avatar(result.avatar, given.head)
    track = result.track
    assert track is not None
    clock.tell(
        warnings=list(result.warnings), found=int(track.seen.sum()), frames=len(track), cuts=list(track.cuts),
        used=int(result.avatar.about["frames"]),
    )  # fmt: skip


class _Clock:
    """Tells stages, their seconds and their own peak of resident memory, which Linux lets a process set back."""

    def __init__(self) -> None:
        self.stage, self.since, self.told = "Starting", time.perf_counter(), 0.0
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float, preview: object) -> None:
        if stage != self.stage:
            self._end()
            self.stage = stage
        if time.perf_counter() - self.told > 0.05:
            self.told = time.perf_counter()
            print(json.dumps({"stage": stage, "fraction": fraction}), flush=True)

    def _end(self) -> None:
        now = time.perf_counter()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0) + now - self.since
        self.memory[self.stage] = max(self.memory.get(self.stage, 0), _peak_mb())
        self.since = now
        Path("/proc/self/clear_refs").write_text("5")

    def tell(self, **more: object) -> None:
        self._end()
        print(json.dumps({"seconds": self.seconds, "memory": self.memory, **more}), flush=True)


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _process(film: Path, work: Path, head: Path, steps: int, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "loquent.tools.heads.survive",
        "--make",
        str(film),
        "--work",
        str(work),
        "--head",
        str(head),
    ]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [*command, "--steps", str(steps), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | one,
    )


def _lines(process: subprocess.Popen[str]) -> Iterator[dict]:
    assert process.stdout
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def made(film: Path, work: Path, head: Path, steps: int, *more: str) -> Made:
    """A head, made to its end."""
    process = _process(film, work, head, steps, *more)
    last = deque(_lines(process), maxlen=1)
    assert process.stderr
    failure = process.stderr.read()
    if process.wait() or not last or "seconds" not in last[0]:
        raise CaptureError(f"Making a head of '{film.name}' broke off: {failure[-800:]}")
    return Made(**last[0])


def killed(film: Path, work: Path, head: Path, steps: int, stage: str, fraction: float) -> str:
    """Make a head and kill the process, without warning, from that place on. Returns where it was."""
    process, place = _process(film, work, head, steps), ""
    for line in _lines(process):
        if line.get("stage") == stage and line["fraction"] >= fraction:
            place = f"{stage} {line['fraction']:.0%}"
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    for pipe in (process.stdout, process.stderr):
        assert pipe
        pipe.close()
    if not place:
        raise CaptureError(f"'{film.name}' was done before '{stage}' was {fraction:.0%} done; nothing was killed.")
    return place


# --- what it is worth


@dataclass(frozen=True)
class Row:
    """psnr: of the head's region in evenly chosen pictures (scores: each, by place); there: in those near the damage. off, worst: of the head's
    landmarks beside MediaPipe's of the good pictures, hundredths of the face's height, mean and the worst picture."""

    name: str
    like: str
    done: Made
    psnr: float
    there: float
    off: float
    worst: float
    sheet: np.ndarray | None
    scores: dict[int, float]


def judged(variant, head: Path, done: Made) -> Row:
    from loquent.core.adapt.footage import encoded
    from loquent.core.capture.embedding import load_embedding
    from loquent.core.head.head import identity, load_head, pose_vertices
    from loquent.core.splats.avatar import load_avatar, performer, pose
    from loquent.core.splats.rasterize import rasterize

    from . import metrics
    from .regions import masks_of

    avatar = load_avatar(head)
    assert avatar.plate is not None
    values, camera, fps = avatar.plate.motion.values, avatar.plate.camera, avatar.plate.motion.fps
    places = np.array([variant.place((k + 0.5) / fps) for k in range(len(values))])
    own = np.arange(len(values)) if variant.learned is None else np.flatnonzero(np.isin(places, variant.learned))
    even = own[np.linspace(0, len(own) - 1, SHOWN).round().astype(int)]
    near = np.flatnonzero(np.isin(places, variant.hurt))
    near = near[np.linspace(0, len(near) - 1, min(len(near), 12)).round().astype(int)] if len(near) else near
    chosen = np.unique(np.r_[even, near])
    truths = [variant.clean[k].astype(np.float32) / 255 for k in places[chosen]]
    seen = metrics.landmarks(truths)
    masks = masks_of([variant.clean[k] for k in places[chosen]], seen)
    actor, person = performer(avatar), identity(load_head(), avatar.betas)
    embedding, psnr, off, drawn = load_embedding(load_head()), {}, {}, {}
    for k, number in enumerate(chosen):
        layers = rasterize(pose(actor, values[number]), camera)
        linear = layers.colour / variant.gain + 0.2 * (1 - layers.alpha[..., None])
        drawn[number] = encoded(linear)
        psnr[number] = metrics.psnr(drawn[number], truths[k], masks[k]["head"])
        points = embedding.of(pose_vertices(person, values[number]))
        at = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        pixels = at[:, :2] / at[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
        off[number] = 100 * float(np.linalg.norm(pixels - seen[k], axis=1).mean() / np.ptp(seen[k][:, 1]))
        drawn[number] = _wired(drawn[number], pixels, truths[k])
    shown = [*even[:: max(1, SHOWN // 4)][:3], *near[:: max(1, len(near) // 4)][:5]] if len(near) else list(even)
    columns = [np.concatenate([variant.stored[places[n]] / 255.0, *drawn[n]], 0) for n in shown]
    return Row(
        variant.name, variant.like, done, float(np.mean([psnr[k] for k in even])),
        float(np.mean([psnr[k] for k in near])) if len(near) else np.nan, float(np.mean(list(off.values()))),
        max(off.values()), (np.concatenate(columns, 1).clip(0, 1) * 255 + 0.5).astype(np.uint8),
        {int(places[k]): psnr[k] for k in even},
    )  # fmt: skip


def _wired(drawn: np.ndarray, pixels: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The drawn head, and the good picture with the head's landmarks in it."""
    out = truth.copy()
    x, y = np.floor(pixels).astype(int).T
    inside = (x >= 1) & (y >= 1) & (x < out.shape[1] - 1) & (y < out.shape[0] - 1)
    for dx, dy in ((0, 0), (1, 0), (0, 1)):
        out[y[inside] + dy, x[inside] + dx] = (0.2, 1.0, 0.4)
    return drawn, out


# --- the table


def variants(films: Path) -> list:
    """Everything that is tried, unhurt films first."""
    from . import damage, metrics

    film = damage.read(films / ADDRESS, range(LATER + FRAMES // 2))
    address = film[:FRAMES]
    speaker = damage.read(films / SPEAKER, range(1000))
    faces = metrics.landmarks([image.astype(np.float32) / 255 for image in address])
    return [
        damage.plain("address", address), damage.plain("GRID speaker", speaker),
        damage.hand_over(address, faces, 22, 25), damage.reframed(speaker, "GRID speaker", 1.25),
        *damage.jump(film, FRAMES // 2, range(LATER, len(film))), damage.dark(address), damage.variable(address), damage.turned(address),
        damage.resampled(address, 24), damage.resampled(address, 30), damage.resampled(address, 60),
    ]  # fmt: skip


HEADER = f"{'':32}{'min':>6}{'found':>10}{'used':>6}{'cuts':>6}{'PSNR':>8}{'unhurt':>8}{'there':>8}{'off %':>7}{'worst':>7}{'MB':>6}  survived"


def line(row: Row, like: Row | None) -> str:
    done = row.done
    unhurt = f"{like.psnr:8.2f}" if like else f"{'':8}"
    there = f"{row.there:8.2f}" if row.there == row.there else f"{'':8}"
    return (
        f"{row.name:32}{done.minutes:6.2f}{f'{done.found}/{done.frames}':>10}{done.used:6}{len(done.cuts):6}{row.psnr:8.2f}"
        f"{unhurt}{there}{row.off:7.2f}{row.worst:7.2f}{done.peak:6.0f}  {survived(row, like)}"
    )


def _beside(row: Row, other: Row, name: str, count: int) -> str:
    """The heads of two films on the pictures that were drawn for both."""
    both = [k for k in row.scores if k < count and k in other.scores]
    mean = [float(np.mean([r.scores[k] for k in both])) for r in (row, other)]
    return (
        f"{mean[0]:.2f} on {len(both)} pictures that the film '{name}' shows as well, where its head has {mean[1]:.2f}"
    )


def survived(row: Row, like: Row | None) -> str:
    if like is None:
        return ""
    good = row.psnr > like.psnr - MARGIN_DB and row.worst < like.worst + WORST
    return "yes" if good else "NO"


def rows(
    films: Path = FILMS, *, steps: int = STEPS, only: list[str] | None = None, ten_minutes: bool = False,
    sheets: Path | None = None, say: Callable[[str], None] = print,
) -> dict[str, float]:  # fmt: skip
    """Print the table; figures survive_…. Raises CaptureError where there are no films, or MediaPipe is not at hand."""
    if lacking := [name for name in (ADDRESS, SPEAKER) if not (films / name).is_file()]:
        raise CaptureError(f"there is no film '{films / lacking[0]}' (--films names another folder)")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="loquent-survive-") as name:
        folder = Path(name)
        say(f"{steps} steps on pictures of {SIZE} pixels, one core\n{HEADER}")
        unhurt: dict[str, Row] = {}
        everything = variants(films)
        chosen = [v for v in everything if not only or any(part in v.name for part in only)]
        wanted = {"address"} | {name for v in chosen for name in (v.name, v.like)}
        for k, variant in enumerate(everything):
            if variant.name not in wanted:
                continue
            film, head = folder / f"{k}.mp4", folder / f"{k}.loq"
            variant.write(film)
            learn = () if variant.learned is None else ("--learn", *map(str, variant.learned))
            done = made(film, folder / f"{k}", head, steps, *learn)
            if done.error:
                say(f"{variant.name:32}  NO: {done.error}")
                continue
            row = judged(variant, head, done)
            like = None if variant.like == variant.name else unhurt[variant.like]
            if like is None:
                unhurt[variant.name] = row
            say(line(row, like))
            for text in done.warnings:
                if "voice style" not in text:
                    say(f"{'':8}{text}")
            if variant.beside:
                say(f"{'':8}{_beside(row, unhurt[variant.beside[0]], *variant.beside)}")
            if sheets:
                _save(row, sheets / f"{k}.png")
            figures[f"survive_{variant.name.replace(',', '').replace(' ', '_')}_psnr"] = row.psnr
            if like is not None:
                figures["survive_least"] = min(figures.get("survive_least", 99.0), row.psnr - like.psnr)
        if not only or "kill" in only:
            figures |= interrupted(folder / "0.mp4", folder / "0.loq", folder / "again", steps, say)
        if not only or "silent" in only:
            figures |= silent(films / ADDRESS, folder, say)
        if ten_minutes:
            figures |= long_film(films / ADDRESS, folder, say)
    return figures


def _save(row: Row, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    assert row.sheet is not None
    image = Image.fromarray(row.sheet)
    image.resize((SHOWN * 180, round(image.height * SHOWN * 180 / image.width))).save(path)


def interrupted(film: Path, whole: Path, work: Path, steps: int, say: Callable[[str], None]) -> dict[str, float]:
    """Killed three times; the file at the end beside that of the run which was left alone."""
    head = work.with_suffix(".loq")
    places = [
        killed(film, work, head, steps, stage, fraction)
        for stage, fraction in (
            ("What the face does", 0.0), ("Cutting out the person", 0.5), ("Learning the head", 0.6 + KEPT_EVERY / steps / 4)
        )
    ]  # fmt: skip
    done = made(film, work, head, steps)
    same = head.read_bytes() == whole.read_bytes()
    say(
        f"killed at {', '.join(places)}: then {done.minutes:.2f} min to the end, {'the same file to the bit' if same else 'ANOTHER FILE'}"
    )
    return {"survive_same_after_kill": float(same)}


def silent(film: Path, folder: Path, say: Callable[[str], None]) -> dict[str, float]:
    """The film's first nine seconds without its sound: long enough for a voice's style, which asks for eight."""
    from . import damage

    images = damage.read(film, range(225))
    damage.plain("silent", images).write(folder / "silent.mp4")
    done = made(folder / "silent.mp4", folder / "silent", folder / "silent.loq", 1, "--style")
    say(
        f"no sound: {done.found}/{done.frames} found, a head all the same. {' '.join(done.warnings) or 'NOTHING WAS SAID'}"
    )
    return {"survive_silent": float(any("no sound" in text for text in done.warnings))}


def long_film(film: Path, folder: Path, say: Callable[[str], None], passes: int = 30) -> dict[str, float]:
    """The film once and to and fro for ten minutes: time, memory and disk by stage."""
    from . import damage

    figures: dict[str, float] = {}
    found: dict[str, tuple[Made, float]] = {}
    for name, times in (("20 s", 1), ("10 min", passes)):
        path, work = folder / f"long{times}.mp4", folder / f"long{times}"
        count = damage.minutes_of(film, path, times)
        done = made(path, work, folder / "long.loq", LONG_STEPS, "--style", "--held-out", "0.1")
        disk = sum(p.stat().st_size for p in work.rglob("*") if p.is_file()) / 1e6
        found[name] = done, disk
        say(f"{name}: {count:,} pictures, {done.found:,} found, {done.used} learned from, {done.minutes:.1f} min, "
            f"{done.peak:.0f} MB, {disk:.0f} MB of disk. {' '.join(done.warnings)}")  # fmt: skip
        figures[f"survive_mb_{times * 20}_s"] = done.peak
    (short, _), (long, _) = found["20 s"], found["10 min"]
    say(f"{'':32}{'20 s':>9}{'10 min':>9}{'20 s':>9}{'10 min':>9}\n{'':32}{'seconds':>18}{'MB':>18}")
    for stage in long.seconds:
        say(f"{stage:32}{short.seconds.get(stage, 0):9.1f}{long.seconds[stage]:9.1f}"
            f"{short.memory.get(stage, 0):9.0f}{long.memory[stage]:9.0f}")  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, default=FILMS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", nargs="+", help="parts of names; kill, silent")
    parser.add_argument("--ten-minutes", action="store_true", help="also ten minutes of film, which takes as long")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="pictures to judge by")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)  # the process that `made` starts
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--head", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=SIZE, help=argparse.SUPPRESS)
    parser.add_argument("--style", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--learn", type=int, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--held-out", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given)
        return
    figures = rows(given.films, steps=given.steps, only=given.only, ten_minutes=given.ten_minutes, sheets=given.sheets)
    if given.json:
        given.json.write_text(json.dumps({k: round(float(v), 4) for k, v in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
