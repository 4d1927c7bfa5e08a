# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture of faces: against renders whose truth is known, against MediaPipe's own lips on real films, and its speed.

    python3.11 dev.py bench heads [--json FILE]
    python tools/bench_heads.py --only capture [--json FILE] [--films FOLDER]

docs/capture.md explains every line. Needs MediaPipe with its face model for the renders (else the clips that the tests carry are
taken) and for the films, and films in ../shared/data/video. What is not at hand is named and left out.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from loquent.core.capture.embedding import load_embedding
from loquent.core.capture.film import open_film
from loquent.core.capture.landmarker import Landmarker
from loquent.core.capture.perform import Options, look, seen_of, track_of
from loquent.core.capture.problem import Seen
from loquent.core.capture.track import Track, load_track, save_track
from loquent.core.errors import CaptureError
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import INDEX
from loquent.tools.capture import clips, measure

FILMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
GROUPS = {
    "front": ("0",), "30": ("30",), "45": ("-45",), "60": ("60",), "noise": ("noise",), "blur": ("blur",), "still": ("still",),
    "people": ("people 0", "people 30"), "glasses": ("glasses 0", "glasses 30"),
    "looks": ("looks 0", "looks 25"),
}  # fmt: skip
TURNS = {"30": 30.0, "-45": -45.0, "60": 60.0, "people 30": 30.0, "glasses 30": 30.0, "looks 25": 25.0}
CALM_SECONDS, STEADIED = 1.0, 5
"""Of a real film, how long a piece is taken for a still head: where the landmarks' mean over so many frames moves least."""
HEADER = (
    f"{'':22}{'vertex':>9}{'expression':>12}{'jaw':>7}{'yaw':>7}{'opening':>9}{'jerk':>7}{'landmarks':>11}{'gaze':>7}"
)


def renders() -> list[clips.Clip]:
    """Clips of renders, made now where MediaPipe is at hand, else those of the tests."""
    try:
        with Landmarker():
            pass
    except CaptureError as error:
        print(f"Renders are not made anew: {error}\nThe tests' clips are taken (20 frames, five of fourteen).\n")
        return clips.some_clips()
    print("Rendering 34 clips and showing them to MediaPipe (minutes) …", flush=True)
    say = lambda line: print(line, flush=True)  # noqa: E731
    return clips.make_clips(say) + clips.people_clips(say) + clips.looking_clips(say)


def against_truth() -> dict[str, float]:
    """Every group of clips, ours and the plain fit of landmarks."""
    head = load_head()
    embedding = load_embedding(head)
    found: dict[str, list[tuple[measure.Score, measure.Score]]] = {}
    for clip in renders():
        truth = measure.Truth(clip.betas, clip.values[clip.index], Seen(clip.points, clip.scores, clip.index),
                              float(clip.camera.K[0, 0]))  # fmt: skip
        turn = TURNS.get(clip.name, 0.0)
        pair = [
            measure.scored(head, embedding, truth, measure.fitted(head, embedding, truth, weights), turn)
            for weights in (None, measure.PLAIN)
        ]
        group = next(name for name, kinds in GROUPS.items() if clip.name in kinds)
        found.setdefault(group, []).append((pair[0], pair[1]))
    print(
        "\nRenders of the built-in heads and of invented people, truth known: ours, and below it landmarks alone, frame by frame"
    )
    print(
        HEADER + "\n" + f"{'':22}{'mm':>9}{'of 1':>12}{'deg':>7}{'deg':>7}{'mm':>9}{'mm':>7}{'px of 512':>11}{'deg':>7}"
    )
    figures = {}
    for group in [name for name in GROUPS if name in found]:
        for k, label in enumerate((f"{group}", "  landmarks alone")):
            mean = _mean([pair[k] for pair in found[group]])
            print(f"{label:22}{mean['vertex']:9.2f}{mean['expression']:12.4f}{mean['jaw']:7.2f}{mean['yaw']:7.1f}"
                  f"{mean['opening']:9.2f}{mean['jerk']:7.2f}{mean['pixels']:11.2f}{mean['gaze']:7.1f}")  # fmt: skip
            suffix = "_baseline" if k else ""
            figures |= {
                f"track_{name}_{group}{suffix}": mean[name] for name in ("vertex", "expression", "jaw", "jerk", "gaze")
            }
    return figures


def _mean(scores: list[measure.Score]) -> dict[str, float]:
    return {name: float(np.mean([getattr(s, name) for s in scores])) for name in measure.Score.__dataclass_fields__}


def real_films(folder: Path) -> dict[str, float]:
    """Lips of the fitted head against MediaPipe's on real films, how much it trembles while the person is still, each beside the plain
    fit; and frames a second of the whole of capture."""
    films = sorted(p for p in folder.glob("*") if p.suffix in (".mpg", ".mp4")) if folder.is_dir() else []
    if not films:
        print(f"\nReal films are left out: there are none in '{folder}' (--films names another folder).")
        return {}
    head = load_head()
    embedding = load_embedding(head)
    face = np.unique(embedding.corners)
    rows, figures = [], {}
    for path in films:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            track, seen = _captured(path)
        except CaptureError as error:
            print(f"\nReal films are left out: {error}")
            return {}
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        plain = measure.fitted(
            head, embedding, measure.Truth(track.betas, track.motion.values, seen, 0.0, track.size), measure.PLAIN
        )
        calm = still_piece(seen, track.fps)
        lips, jerk, off = [], [], []
        for betas, values, focal in (
            (track.betas, _before_camera(track)[seen.index], track.focal), (plain.betas, plain.values, plain.focal)
        ):  # fmt: skip
            vertices = pose_vertices(identity(head, betas), values)
            points = embedding.of(vertices)
            pixels = focal * points[..., :2] * (1, -1) / -points[..., 2:] + np.array(track.size) / 2
            lips.append(measure.r2(measure.lip_gap(pixels), measure.lip_gap(seen.points)))
            jerk.append(measure.jerk(vertices[calm][:, face]))
            off.append(float(np.median(np.linalg.norm(pixels - seen.points, axis=-1))))
        rows.append((path.name, len(track), *lips, *jerk, *off, track.error,
                     float(np.degrees(np.ptp(track.motion.column("headYaw")))), track.motion.column("eyeBlinkLeft").max(),
                     len(track) / wall, 1e3 * cpu / len(track)))  # fmt: skip
        if track.motion.seconds > 10:
            figures |= {"track_fps": len(track) / wall, "track_cpu_ms": 1e3 * cpu / len(track)}
            figures["track_kb_a_frame"] = _kilobytes(track)
    print(
        "\nReal films: lips of the fitted head against MediaPipe's landmarks, trembling in the stillest second; beside landmarks alone"
    )
    print(f"{'':28}{'frames':>7}{'lips R2':>9}{'alone':>7}{'jerk mm':>9}{'alone':>7}{'px off':>8}{'alone':>7}{'of eyes':>9}"
          f"{'yaw deg':>9}{'blink':>7}{'fps':>7}{'cpu ms':>8}")  # fmt: skip
    for name, count, *f in rows:
        print(f"{name:28}{count:7}{f[0]:9.3f}{f[1]:7.3f}{f[2]:9.2f}{f[3]:7.2f}{f[4]:8.2f}{f[5]:7.2f}{f[6]:9.2%}{f[7]:9.1f}{f[8]:7.2f}"
              f"{f[9]:7.1f}{f[10]:8.1f}")  # fmt: skip
    return figures | {
        "track_r2": min(row[2] for row in rows), "track_pixels": float(np.median([row[6] for row in rows])),
        "track_still_jerk": float(np.median([row[4] for row in rows])),
        "track_still_jerk_baseline": float(np.median([row[5] for row in rows])),
    }  # fmt: skip


def _captured(path: Path) -> tuple[Track, Seen]:
    """As perform.capture does it, and what was seen on the way."""
    film, options = open_film(path), Options()
    people, count, cuts = look(film, options, lambda fraction, picture: None)
    seen = seen_of(people.chosen(options.face, path.name))
    return track_of(film, seen, count, cuts, options), seen


def _before_camera(track: Track) -> np.ndarray:
    """(T, 65) the motion with the head's place told from a camera at the origin that looks along -z."""
    values = track.motion.values.copy()
    turned = track.camera.world_to_camera[:3, :3].T @ track.camera.world_to_camera[:3, 3]
    values[:, [INDEX[n] for n in ("headX", "headY", "headZ")]] += turned.astype(np.float32)
    return values


def still_piece(seen: Seen, fps: float) -> slice:
    """The second in which the face moves least, whatever the landmarks tremble: their means over some frames are compared."""
    points = seen.points / np.linalg.norm(seen.points[:, 33] - seen.points[:, 263], axis=1).mean()
    count = min(round(CALM_SECONDS * fps), len(points)) - STEADIED
    total = np.cumsum(np.concatenate([np.zeros_like(points[:1]), points]), axis=0, dtype=np.float64)
    steady = (total[STEADIED:] - total[:-STEADIED]) / STEADIED
    moved = [np.ptp(steady[k : k + count + 1], axis=0).max(-1).mean() for k in range(len(steady) - count)]
    first = int(np.argmin(moved))
    return slice(first, first + count + STEADIED)


def _kilobytes(track: Track) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.track"
        save_track(track, path)
        assert np.array_equal(load_track(path).motion.column("jawOpen"), track.motion.values[:, INDEX["jawOpen"]])
        return path.stat().st_size / 1e3 / len(track)


def rows(films: Path = FILMS) -> dict[str, float]:
    """Both tables; figures track_…."""
    figures = against_truth() | real_films(films)
    print()
    for name, target in (("track_r2", ">= .9"), ("track_fps", ">= 10"), ("track_cpu_ms", ""), ("track_kb_a_frame", "")):
        if name in figures:
            print(f"{name:20}{figures[name]:9.3f}   {target}")
    return figures
