# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips with known truth: the built-in heads speaking before cameras at many angles, as MediaPipe sees them.

python -m loquent.tools.capture.clips        writes some of them to tests/data/mediapipe_on_renders.npz
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loquent.core.capture.landmarker import Landmarker
from loquent.core.geometry.cameras import Camera
from loquent.core.head.head import pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.prior.generate import generate
from loquent.core.speech.audio import read_audio

from ..people import glasses, person
from ..people.body import layout
from ..people.recipe import sample
from .shots import BACKGROUND, camera_at, cast, shoot, srgb

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 60
SOME_FILE = ROOT / "tests" / "data" / "mediapipe_on_renders.npz"
SOME = ("ada 0", "ada still", "bruno 30", "bruno -45", "ada 60")
SIZE = 512
PEOPLE, PEOPLE_FRAMES = 4, 40


@dataclass(frozen=True)
class Clip:
    """name; head; betas (S,); values (F, 65) true; camera; points (F, 478, 2) and scores (F, 52) by MediaPipe; index (F,)
    of the frames in which it found a face; fps."""

    name: str
    head: str
    betas: np.ndarray
    values: np.ndarray
    camera: Camera
    points: np.ndarray
    scores: np.ndarray
    index: np.ndarray
    fps: float = 25.0


def spoken(head: str) -> np.ndarray:
    """(F, 65) of the head's sample line, from where it is in full swing."""
    motion = generate(read_audio(ROOT / "sample_scenes" / f"voice_{head}.flac"), fps=25.0, seed=0)
    values = motion.values[12 : 12 + FRAMES].copy()
    for name in ("neckPitch", "neckYaw", "neckRoll", "jawYaw", "jawRoll", "tongueOut"):
        values[:, INDEX[name]] = 0  # what the fit does not have is not asked of it
    return values


def make_clips(progress: Callable[[str], object] = print) -> list[Clip]:
    """Frontal to 60 degrees; frontal with noise and with blur; a still face under noise. About 3 minutes on one core."""
    clips = []
    rng = np.random.default_rng(0)
    for head in ("ada", "bruno"):
        actor, talk = cast(None, head), spoken(head)
        still = np.repeat(talk[20:21], 40, 0)
        for kind, yaw, values in (
            ("0", 0, talk), ("30", 30, talk), ("-45", -45, talk), ("60", 60, talk),
            ("noise", 0, talk), ("blur", 0, talk), ("still", 0, still),
        ):  # fmt: skip
            camera = camera_at(yaw, 0, size=SIZE)
            images = (worsened(shoot(actor, row, camera).image, kind, rng) for row in values)
            clips.append(_filmed(kind, head, actor.identity.betas, values, camera, images, progress))
    return clips


def people_clips(progress: Callable[[str], object] = print, count: int = PEOPLE) -> list[Clip]:
    """Invented people (tools/people) who wear glasses, speaking, frontal and at 30 degrees, with their glasses and without: nothing of
    the fit was chosen on them. 0.3 s of one core a picture."""
    clips, number = [], 0
    for index in range(10_000):
        if number == count:
            break
        if not sample(layout().head, "held", index).glasses:
            continue
        wearer = person.build("held", index)
        values = spoken(("ada", "bruno")[number % 2])[:PEOPLE_FRAMES]
        for kind, one in (("people", bare_eyed(wearer)), ("glasses", wearer)):
            for yaw in (0, 30):
                camera = camera_at(yaw, 0, size=SIZE)
                images = (_shown(one, row, camera) for row in values)
                name = f"{kind} {yaw}"
                clips.append(_filmed(name, f"held {index}", one.recipe.betas, values, camera, images, progress))
        number += 1
    return clips


def looking_clips(progress: Callable[[str], object] = print) -> list[Clip]:
    """Both built-in heads and two of the invented people speaking while they look about, blink and raise their brows; every second one
    turned by 25 degrees. Their eyes are what is measured."""
    clips = []
    for number, (name, yaw) in enumerate((("ada", 0), ("bruno", 25), ("held 2", 0), ("held 10", 25))):
        values, camera = looking_about(number), camera_at(yaw, 0, size=SIZE)
        if name.startswith("held"):
            one = bare_eyed(person.build("held", int(name.split()[1])))
            images, betas = (_shown(one, row, camera) for row in values), one.recipe.betas
        else:
            actor = cast(None, name)
            images, betas = (shoot(actor, row, camera).image for row in values), actor.identity.betas
        clips.append(_filmed(f"looks {yaw}", name, betas, values, camera, images, progress))
    return clips


def looking_about(seed: int) -> np.ndarray:
    """(F, 65): gaze jumps a few times a second, up to 18 degrees aside and 9 up or down; lids shut four times."""
    rng, values = np.random.default_rng(seed), spoken(("ada", "bruno")[seed % 2])
    count = len(values)

    def jumps(shortest: int, longest: int, low: float, high: float) -> np.ndarray:
        lengths = rng.integers(shortest, longest, count)
        return np.repeat(rng.uniform(low, high, count), lengths)[:count]

    values[:, [i for i, name in enumerate(CHANNELS) if name.startswith(("brow", "eye"))]] = 0
    values[:, INDEX["gazeYaw"]] = jumps(6, 16, -0.32, 0.32)
    values[:, INDEX["gazePitch"]] = jumps(6, 16, -0.14, 0.16)
    raised = np.convolve(np.maximum(jumps(10, 20, -0.4, 0.8), 0), np.ones(5) / 5, "same")
    for name, share in (("browInnerUp", 1.0), ("browOuterUpLeft", 0.7), ("browOuterUpRight", 0.7)):
        values[:, INDEX[name]] = share * raised
    for begin in rng.choice(np.arange(5, count - 5, 12), 4, replace=False):
        for side in ("Left", "Right"):
            values[begin : begin + 5, INDEX["eyeBlink" + side]] = (0.5, 1, 1, 0.6, 0.25)
    return values


def bare_eyed(wearer: person.Person) -> person.Person:
    """The same person in the same light without glasses, which are the last that a body carries and throw no shadow."""
    body = wearer.body
    rest = pose_vertices(body.shape, np.zeros(len(CHANNELS), np.float32))
    count = len(glasses.spectacles(body.shape, body.points, rest, np.random.default_rng(0)))
    opacities = body.opacities.copy()
    opacities[-count:] = 0
    return replace(wearer, body=replace(body, opacities=opacities))


def _shown(one: person.Person, values: np.ndarray, camera: Camera) -> np.ndarray:
    colour, matte = person.draw(one, values, camera)
    return srgb(colour + (1 - matte[..., None]) * np.array(BACKGROUND, np.float32))


def _filmed(
    kind: str, head: str, betas: np.ndarray, values: np.ndarray, camera: Camera, images: Iterable[np.ndarray],
    progress: Callable[[str], object],
) -> Clip:  # fmt: skip
    """Pictures of `values` as MediaPipe sees them."""
    points, scores, index = [], [], []
    with Landmarker() as landmarker:
        for k, image in enumerate(images):
            if faces := landmarker.next(image):
                points.append(faces[0].points)
                scores.append(faces[0].scores)
                index.append(k)
    progress(f"  rendered {head} {kind}: face in {len(index)} of {len(values)}")
    return Clip(kind, head, betas, values, camera, np.array(points), np.array(scores), np.array(index))


def write_some(clips: list[Clip], path: Path, frames: int = 20) -> None:
    """The tests' clips: the first frames of five, points in 64ths of a pixel as differences in time, which pack well."""
    arrays: dict[str, np.ndarray] = {}
    for clip in clips:
        if f"{clip.head} {clip.name}" not in SOME:
            continue
        assert (clip.index[:frames] == np.arange(frames)).all(), "a frame without a face"
        points = np.round(clip.points[:frames] * 64).astype(np.int16)
        fields = {
            "points": np.concatenate([points[:1], np.diff(points, axis=0)]),
            "scores": np.round(clip.scores[:frames] * 255).astype(np.uint8),
            "values": clip.values[:frames].astype(np.float32), "betas": clip.betas,
            "K": clip.camera.K, "world_to_camera": clip.camera.world_to_camera,
        }  # fmt: skip
        arrays |= {f"{clip.head}/{clip.name}/{name}": array for name, array in fields.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def some_clips(path: Path = SOME_FILE) -> list[Clip]:
    """The tests' clips."""
    clips = []
    with np.load(path, allow_pickle=False) as file:
        for name in SOME:
            head, kind = name.split()
            field = {
                n: file[f"{head}/{kind}/{n}"] for n in ("points", "scores", "values", "betas", "K", "world_to_camera")
            }
            points = np.cumsum(field["points"], 0, dtype=np.int16).astype(np.float32) / 64
            camera = Camera(field["world_to_camera"], field["K"], SIZE, SIZE)
            scores = field["scores"].astype(np.float32) / 255
            clips.append(
                Clip(kind, head, field["betas"], field["values"], camera, points, scores, np.arange(len(points)))
            )
    return clips


def worsened(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise of 8 (still: 4) of 255, or a blur of 3 pixels' width."""
    if kind == "blur":
        kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
        kernel /= kernel.sum()
        out = image.astype(np.float32)
        for axis in (0, 1):
            padded = np.pad(out, [(6, 6) if a == axis else (0, 0) for a in range(3)], "edge")
            out = sum(w * np.take(padded, np.arange(k, k + out.shape[axis]), axis) for k, w in enumerate(kernel))
        return out.clip(0, 255).astype(np.uint8)
    sigma = {"noise": 8, "still": 4}.get(kind, 0)
    if not sigma:
        return image
    return (image + rng.normal(0, sigma, image.shape)).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    write_some(make_clips(), SOME_FILE)
