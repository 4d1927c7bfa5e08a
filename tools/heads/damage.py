# SPDX-License-Identifier: GPL-3.0-or-later
"""Films as people have them, made out of good ones: cut, with a hand before the face, at other rates, turned, dark, silent, long.

Every variant keeps the picture that should have been seen beside the one that is stored, so that what was learned from the bad one can
be held against the good one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageFilter

from loquent.core.adapt.footage import decoded, encoded
from loquent.core.capture.film import open_film, pictures
from loquent.core.capture.matte import box

TICKS = 12_000
"""A second of the films written here: divisible by all rates."""
DARK = 0.25
"""Share of the light that the dark film gets."""
RATE = 25.0


@dataclass(frozen=True)
class Variant:
    """stored: pictures (H, W, 3) uint8 as they are shown upright; clean: what they should have been; seconds: when each begins.

    hurt: places of pictures to look at closely. gain: light of stored beside clean. quarter: stored on its side, with the flag.
    crf: of x264, larger is worse. like: the unhurt film whose figures it is held against. learned: places that may be learned from, all where
    None. beside: another film that begins with the same pictures, and how many.
    """

    name: str
    stored: list[np.ndarray]
    clean: list[np.ndarray]
    seconds: np.ndarray
    hurt: Sequence[int] = field(default=())
    gain: float = 1.0
    quarter: bool = False
    crf: int = 14
    rate: float = RATE
    like: str = "address"
    learned: Sequence[int] | None = None
    beside: tuple[str, int] | None = None

    def place(self, seconds: float) -> int:
        """Of the picture shown at a time."""
        return int(np.clip(np.searchsorted(self.seconds, seconds, "right") - 1, 0, len(self.seconds) - 1))

    def write(self, path: Path) -> None:
        write(path, self.stored, self.seconds, self.rate, self.crf, self.quarter)


def write(path: Path, images: Sequence[np.ndarray], seconds: np.ndarray, rate: float, crf: int, quarter: bool) -> None:
    """An MP4 without sound, each picture from its time on; the last one lasts 1 / rate."""
    with av.open(str(path), "w") as container:
        stream = _stream(container, images[0].shape, rate, crf, quarter)
        for image, at in zip(images, seconds, strict=True):
            _encode(container, stream, np.rot90(image, -1) if quarter else image, at)
        container.mux(stream.encode())


def _stream(
    container: Any, shape: tuple[int, ...], rate: float, crf: int, quarter: bool, preset: str = "veryfast"
) -> Any:
    stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
    stream.height, stream.width = shape[:2][:: -1 if quarter else 1]
    stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": preset, "threads": "1"}
    stream.codec_context.time_base = Fraction(1, TICKS)
    if quarter:
        stream.set_display_rotation(90)
    return stream


def _encode(container: Any, stream: Any, image: np.ndarray, seconds: float) -> None:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    frame.pts, frame.time_base = round(seconds * TICKS), Fraction(1, TICKS)
    container.mux(stream.encode(frame))


def read(path: Path, frames: range) -> list[np.ndarray]:
    """These pictures of a film, with even sides."""
    out = []
    for number, picture in enumerate(pictures(open_film(path))):
        if number in frames:
            image = picture.image
            out.append(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2].copy())
        if number + 1 >= frames.stop:
            break
    return out


def plain(name: str, images: list[np.ndarray], like: str | None = None) -> Variant:
    return Variant(name, images, images, np.arange(len(images)) / RATE, like=like or name)


# --- shots


def jump(film: list[np.ndarray], first: int, second: range) -> tuple[Variant, Variant]:
    """One framing, some seconds left out: what editors call a jump cut, from the first pictures to later ones. Before it, what it is held
    against: the film up to there without a cut, of which those pictures alone are learned from."""
    shown = [*range(first), *second]
    uncut = plain("address, whole, same pictures", film[: second.stop])
    uncut = replace(uncut, learned=shown, hurt=shown[first - 2 : first + 2])
    cut = plain("cut, same framing", [film[k] for k in shown], uncut.name)
    return uncut, replace(cut, hurt=tuple(range(first - 2, first + 2)), beside=("address", first))


def reframed(images: list[np.ndarray], like: str, zoom: float = 1.35) -> Variant:
    """From the middle on another framing of the same take: nearer and off the centre, as from a second camera."""
    half = len(images) // 2
    height, width = images[0].shape[:2]
    left, top = 0.20 * (1 - 1 / zoom) * width, 0.35 * (1 - 1 / zoom) * height
    part = (left, top, left + width / zoom, top + height / zoom)
    near = [
        np.asarray(Image.fromarray(i).resize((width, height), Image.Resampling.BICUBIC, part)) for i in images[half:]
    ]
    whole = plain("cut, other framing", images[:half] + near, like)
    return replace(whole, hurt=tuple(range(half - 2, half + 2)))


# --- a hand


def hand_over(images: list[np.ndarray], faces: np.ndarray, first: int, count: int) -> Variant:
    """A painted hand comes from below, covers the mouth, goes up to the eyes and leaves. faces: landmarks (F, 478, 2)."""
    stored, chin, brow = list(images), faces[:, 152], faces[:, 10]
    skin = np.median([images[0][int(y), int(x)] for x, y in faces[0][[50, 280, 101, 330]]], 0) / 255
    for k in range(count):
        at, frame = (k + 0.5) / count, first + k
        tall = float(np.linalg.norm(chin[frame] - brow[frame]))
        away = np.interp(at, (0, 0.2, 0.8, 1), (1.5, 0, 0, 1.7))  # face heights below
        up = np.interp(at, (0, 0.45, 0.65, 0.8), (0, 0, 0.38, 0.1)) + 0.015 * np.sin(17 * at)
        middle = faces[frame][[13, 14]].mean(0) + tall * np.array(
            [0.12 - 0.35 * away + 0.05 * np.sin(9 * at), away - up]
        )
        stored[frame] = _with_hand(images[frame], middle, tall, -0.55 + 0.25 * np.sin(5 * at), skin)
    return Variant(
        "hand over the face", stored, images, np.arange(len(images)) / RATE, tuple(range(first, first + count))
    )


FINGERS = (  # root and tip in hand lengths (x across, y towards the fingertips, origin in the palm), radius
    ((-0.19, 0.20), (-0.27, 0.50), 0.048), ((-0.07, 0.24), (-0.08, 0.60), 0.052), ((0.06, 0.24), (0.08, 0.57), 0.051),
    ((0.17, 0.19), (0.23, 0.46), 0.044), ((-0.20, -0.06), (-0.44, 0.18), 0.058),
)  # fmt: skip


def _with_hand(image: np.ndarray, middle: np.ndarray, tall: float, angle: float, skin: np.ndarray) -> np.ndarray:
    """The picture with the back of a right hand at a place: capsules for fingers, palm and wrist, lit from above as one surface."""
    height, width = image.shape[:2]
    size = 1.0 * tall
    y, x = np.mgrid[:height, :width] + 0.5
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    u, v = np.einsum("ij,jhw->ihw", turn, np.stack([(x - middle[0]) / size, -(y - middle[1]) / size]))
    parts = [(*f, 1.0) for f in FINGERS]
    parts += [((-0.10, -0.08), (-0.06, 0.16), 0.15, 0.55), ((0.08, -0.08), (0.07, 0.14), 0.15, 0.55)]
    parts += [((0.0, -0.22), (0.02, -2.2), 0.14, 0.8)]
    tops = []
    for (ax, ay), (bx, by), radius, flat in parts:
        along = np.clip(((u - ax) * (bx - ax) + (v - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        off = (u - ax - along * (bx - ax)) ** 2 + (v - ay - along * (by - ay)) ** 2
        tops.append(flat * np.sqrt(np.maximum(radius**2 - off, 0)) * (1 - 0.1 * along))
    tops = np.stack(tops)
    surface = tops.max(0)
    surface = box(box(surface, 1), 1)
    down, across = np.gradient(surface * size)
    normal = np.stack([-across, -down, np.ones_like(down)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = 0.45 + 0.6 * np.clip(normal @ np.array([-0.35, -0.55, 0.76]), 0, 1)
    blotch = np.random.default_rng(3).normal(0, 0.03, (height // 6 + 1, width // 6 + 1)).astype(np.float32)
    light = light * (1 + np.asarray(Image.fromarray(blotch).resize((width, height), Image.Resampling.BICUBIC)))
    tint = np.array([1.0, 0.97, 0.95]) * decoded(skin.astype(np.float32))
    cover = np.clip(tops.max(0) * size / 1.5, 0, 1)
    grown = Image.fromarray((255 * (cover > 0.5)).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.05 * size))
    shadow = 1 - 0.3 * np.roll(np.asarray(grown, np.float32) / 255, round(0.04 * size), 0)
    below = decoded(image.astype(np.float32) / 255) * shadow[..., None]
    out = below + cover[..., None] * (tint * light[..., None] - below)
    return np.round(encoded(out) * 255).astype(np.uint8)


# --- time


def resampled(images: list[np.ndarray], rate: float) -> Variant:
    """At another rate, as converters do it: pictures doubled or dropped."""
    seconds = np.arange(int(len(images) * rate / RATE)) / rate
    chosen = np.minimum((seconds * RATE + 0.5).astype(int), len(images) - 1)
    own = [images[k] for k in chosen]
    return replace(plain(f"{rate:g} pictures a second", own, "address"), seconds=seconds, rate=rate)


def variable(images: list[np.ndarray], seed: int = 5) -> Variant:
    """Times off by up to 40 % of a picture's, a tenth of the pictures dropped, a tenth twice."""
    rng = np.random.default_rng(seed)
    places = np.sort(
        np.r_[np.flatnonzero(rng.random(len(images)) > 0.1), rng.integers(1, len(images) - 1, len(images) // 10)]
    )
    seconds = (places + rng.uniform(-0.4, 0.4, len(places)) + 0.4) / RATE
    order = np.argsort(seconds)
    seconds, places = np.maximum.accumulate(seconds[order]), places[order]
    seconds[0] = 0
    seconds += np.arange(len(seconds)) * 2 / TICKS  # no two at one time
    return replace(plain("variable rate", [images[k] for k in places], "address"), seconds=seconds)


# --- phones


def turned(images: list[np.ndarray]) -> Variant:
    return replace(plain("on its side, by flag", images, "address"), quarter=True)


def dark(images: list[np.ndarray], seed: int = 7) -> Variant:
    """A quarter of the light, noise of light and sensor, smeared colours, few bits, on its side."""
    rng, stored = np.random.default_rng(seed), []
    for image in images:
        light = decoded(image.astype(np.float32) / 255) * DARK
        light = light + rng.normal(0, 1, light.shape).astype(np.float32) * np.sqrt(1.2e-5 + 6e-4 * light)
        picture = Image.fromarray(np.round(encoded(light) * 255).astype(np.uint8)).convert("YCbCr")
        y, *colours = picture.split()
        smeared = [c.filter(ImageFilter.GaussianBlur(2)) for c in colours]
        stored.append(np.asarray(Image.merge("YCbCr", (y, *smeared)).convert("RGB")))
    return Variant(
        "dark, noisy, 30 crf, on its side",
        stored,
        images,
        np.arange(len(images)) / RATE,
        gain=DARK,
        quarter=True,
        crf=30,
    )


# --- length


def minutes_of(source: Path, target: Path, passes: int, say: Callable[[float], None] = lambda _: None) -> int:
    """A film played to and fro, every pass a little nearer or brighter than the last, with its sound; its number of pictures."""
    images = read(source, range(1 << 30))
    height, width = images[0].shape[:2]
    rng, count = np.random.default_rng(11), 0
    with av.open(str(target), "w") as container:
        stream = _stream(container, images[0].shape, RATE, 20, False, "ultrafast")
        voice = container.add_stream("aac", rate=16_000, layout="mono")
        for turn in range(passes):
            zooms, bright = rng.uniform(1.0, 1.12, 2), rng.uniform(0.85, 1.15, 2)
            for k, image in enumerate(images if turn % 2 == 0 else images[::-1]):
                share = k / len(images)
                zoom, gain = (float(a + (b - a) * share) for a, b in (zooms, bright))
                left, top = (1 - 1 / zoom) * width / 2, (1 - 1 / zoom) * height / 3
                part = (left, top, left + width / zoom, top + height / zoom)
                shown = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, part)
                shown = shown.point([min(255, round(v * gain)) for v in range(256)] * 3)
                _encode(container, stream, np.asarray(shown), count / RATE)
                count += 1
            say((turn + 1) / passes)
        container.mux(stream.encode())
        for frame in _sound(source, passes, len(images) / RATE):
            container.mux(voice.encode(frame))
        container.mux(voice.encode())
    return count


def _sound(source: Path, passes: int, seconds: float) -> Iterator[Any]:
    from loquent.core.capture.sound import film_sound

    audio = film_sound(source, seconds)
    assert audio is not None
    samples = np.zeros(round(seconds * 16_000), np.float32)
    samples[: len(audio.samples)] = audio.samples[: len(samples)]
    done = 0
    for turn in range(passes):
        own = samples if turn % 2 == 0 else samples[::-1]
        for start in range(0, len(own), 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(own[None, start : start + 1024]), "fltp", "mono")
            frame.rate, frame.pts, frame.time_base = 16_000, done, Fraction(1, 16_000)
            done += frame.samples
            yield frame
