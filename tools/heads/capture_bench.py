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
from loquent.core.capture.landmarker import Landmarker
from loquent.core.capture.overlay import project
from loquent.core.capture.perform import capture
from loquent.core.capture.problem import Seen
from loquent.core.capture.track import Track, load_track, save_track
from loquent.core.errors import CaptureError
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import INDEX
from loquent.tools.capture import clips, measure

FILMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
GROUPS = {"front": ("0",), "30": ("30",), "45": ("-45",), "60": ("60",), "noise": ("noise",), "blur": ("blur",), "still": ("still",)}  # fmt: skip
TURNS = {"30": 30.0, "-45": -45.0, "60": 60.0}
HEADER = f"{'':22}{'vertex':>9}{'expression':>12}{'jaw':>7}{'yaw':>7}{'opening':>9}{'jerk':>7}{'landmarks':>11}"


def renders() -> list[clips.Clip]:
    """Clips of renders, made now where MediaPipe is at hand, else those of the tests."""
    try:
        with Landmarker():
            pass
    except CaptureError as error:
        print(f"Renders are not made anew: {error}\nThe tests' clips are taken (20 frames, five of fourteen).\n")
        return clips.some_clips()
    print("Rendering 14 clips and showing them to MediaPipe (minutes) …", flush=True)
    return clips.make_clips(lambda line: print(line, flush=True))


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
    print("\nRenders of the built-in heads, truth known: ours, and below it landmarks alone, frame by frame")
    print(HEADER + "\n" + f"{'':22}{'mm':>9}{'of 1':>12}{'deg':>7}{'deg':>7}{'mm':>9}{'mm':>7}{'px of 512':>11}")
    figures = {}
    for group in [name for name in GROUPS if name in found]:
        for k, label in enumerate((f"{group}", "  landmarks alone")):
            mean = _mean([pair[k] for pair in found[group]])
            print(f"{label:22}{mean['vertex']:9.2f}{mean['expression']:12.4f}{mean['jaw']:7.2f}{mean['yaw']:7.1f}"
                  f"{mean['opening']:9.2f}{mean['jerk']:7.2f}{mean['pixels']:11.2f}")  # fmt: skip
            suffix = "_baseline" if k else ""
            figures |= {f"track_{name}_{group}{suffix}": mean[name] for name in ("vertex", "expression", "jaw", "jerk")}
    return figures


def _mean(scores: list[measure.Score]) -> dict[str, float]:
    return {name: float(np.mean([getattr(s, name) for s in scores])) for name in measure.Score.__dataclass_fields__}


def real_films(folder: Path) -> dict[str, float]:
    """Lips of the fitted head against MediaPipe's on real films, and frames a second of the whole of capture."""
    films = sorted(p for p in folder.glob("*") if p.suffix in (".mpg", ".mp4")) if folder.is_dir() else []
    if not films:
        print(f"\nReal films are left out: there are none in '{folder}' (--films names another folder).")
        return {}
    head = load_head()
    embedding = load_embedding(head)
    rows, figures = [], {}
    for path in films:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            track = capture(path)
        except CaptureError as error:
            print(f"\nReal films are left out: {error}")
            return {}
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        person = identity(head, track.betas)
        shown = np.array([project(track, p) for p in embedding.of(pose_vertices(person, track.motion.values))])
        seen = track.seen
        lips = [measure.lip_gap(points[seen]) for points in (shown, track.landmarks)]
        off = np.linalg.norm(shown - track.landmarks, axis=-1)[seen]
        yaw = np.degrees(track.motion.column("headYaw"))
        rows.append((path.name, len(track), measure.r2(*lips), float(np.median(off)), track.error, float(np.ptp(yaw)),
                     track.motion.column("eyeBlinkLeft").max(), len(track) / wall, 1e3 * cpu / len(track)))  # fmt: skip
        if track.motion.seconds > 10:
            figures |= {"track_fps": len(track) / wall, "track_cpu_ms": 1e3 * cpu / len(track)}
            figures["track_kb_a_frame"] = _kilobytes(track)
    print("\nReal films: lips of the fitted head against MediaPipe's landmarks")
    print(
        f"{'':28}{'frames':>7}{'lips R2':>9}{'px off':>8}{'of eyes':>9}{'yaw deg':>9}{'blink':>7}{'fps':>7}{'cpu ms':>8}"
    )
    for name, count, lips, pixels, error, yaw, blink, fps, cpu in rows:
        print(f"{name:28}{count:7}{lips:9.3f}{pixels:8.2f}{error:9.2%}{yaw:9.1f}{blink:7.2f}{fps:7.1f}{cpu:8.1f}")
    return figures | {
        "track_r2": min(row[2] for row in rows),
        "track_pixels": float(np.median([row[3] for row in rows])),
    }


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
