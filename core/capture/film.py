# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a film or a photo at a constant rate, upright, one after the other: nothing is kept.

Phone films turn themselves by a flag and vary their rate; screen recordings drop pictures. Here picture k is the one
nearest to k / fps seconds after the container's beginning, where its sound begins, too: a picture may come twice or never. The
same call gives the same pictures again, so what was measured on picture k can be compared with its pixels later.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CaptureError

COMMON_RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 100.0, 119.88, 120.0, 240.0)
MAX_SIDE = 1280
"""Larger pictures are halved and thirded: the landmark model looks at 256 pixels of a face."""
CUT = 0.16
"""Mean change of a small grey picture, 0..1, from which on it is another shot whatever went before."""
QUIET_CUT, ABOVE_USUAL, USUAL = 0.05, 6.0, 12
"""From this change on it is another shot where it is also so many times the usual one of that many pictures before: another framing
of the same room changes .09 to .12, a speaking head .03 at most. Light that changes everywhere alike does not count."""

LISTS = frozenset(("concat", "dash", "hls", "sdp"))
"""FFmpeg's names of files that name others. They are known by what is in them, whatever they are called, and would open what nobody chose."""


@dataclass(frozen=True)
class Film:
    """size: (width, height) upright, square pixels. fps: constant rate taken. frames: about how many there will be."""

    path: Path
    size: tuple[int, int]
    fps: float
    frames: int
    photo: bool


@dataclass(frozen=True)
class Picture:
    """image: (h, w, 3) uint8 sRGB, upright; scale: pixels of Film.size a pixel; cut: another shot begins; same: nothing
    new since the picture before."""

    image: np.ndarray
    scale: float
    cut: bool
    same: bool


def open_film(path: Path | str, fps: float | None = None) -> Film:
    """What a film or photo holds. Raises CaptureError for anything without pictures."""
    with _container(Path(path)) as container:
        stream = _stream(container, Path(path))
        frame = _first(container, stream, Path(path))
        width, height = _shown_size(frame)
        if _turns(frame) % 2:
            width, height = height, width
        rate = fps or _rate(float(stream.average_rate or stream.guessed_rate or 25))
        seconds = _seconds(container, stream)
        photo = stream.frames <= 1 and seconds * rate < 1.5
        return Film(Path(path), (width, height), rate, 1 if photo else max(1, round(seconds * rate)), photo)


def has_sound(path: Path | str) -> bool:
    """Whether a film has a sound track."""
    with _container(Path(path)) as container:
        return bool(container.streams.audio)


def pictures(film: Film) -> Iterator[Picture]:
    """The film's pictures in order. A damaged piece is left out: the picture before it stands for it."""
    with _container(film.path) as container:
        stream = _stream(container, film.path)
        stream.thread_type = "AUTO"
        start = float(container.start_time or 0) / 1e6 if not film.photo else 0.0
        shown: Picture | None = None
        changes = Changes()
        count = 0
        for seconds, frame in _decoded(container, stream, film.fps):
            # shown until the next one begins
            while shown is not None and (count + 0.5) / film.fps <= seconds - start:
                yield shown
                shown = Picture(shown.image, shown.scale, False, True)
                count += 1
            image, scale = _upright(frame)
            cut = changes.cut(_grey(image))
            pending = shown is not None and shown.cut and not shown.same  # a cut that was not shown still is one
            shown = Picture(image, scale, cut or pending, False)
        if shown is not None:
            yield shown


class Changes:
    """Told one small grey picture after the other, says which begins another shot."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._usual: deque[float] = deque(maxlen=USUAL)

    def cut(self, grey: np.ndarray) -> bool:
        """Whether (h, w) 0..1 has nothing to do with the picture before."""
        last, self._last = self._last, grey
        if last is None:
            return False
        if last.shape != grey.shape:
            return True
        change = grey - last
        whole, parts = float(np.abs(change).mean()), float(np.abs(change - change.mean()).mean())
        usual = float(np.median(self._usual)) if len(self._usual) == USUAL else np.inf
        cut = whole > CUT or (parts > QUIET_CUT and parts > ABOVE_USUAL * usual)
        if not cut and parts > 0:  # a picture stored twice says nothing of how much the film moves
            self._usual.append(parts)
        return cut


def _decoded(container: Any, stream: Any, fps: float) -> Iterator[tuple[float, Any]]:
    """(seconds, frame); damaged packets are skipped."""
    import av

    last = -1.0 / fps
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            seconds = float(frame.time) if frame.time is not None else last + 1 / fps
            last = max(seconds, last)
            yield last, frame


def _container(path: Path) -> Any:
    if not path.is_file():
        raise CaptureError(f"There is no film or photo '{path}'. Check the path.")
    try:
        import av
    except ImportError as error:
        from .landmarker import HOW

        raise CaptureError(f"Films cannot be read ({error}). {HOW}") from error
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise CaptureError(
            f"'{path}' cannot be read as a film or a photo ({error}). Expected mp4, mov, webm, avi, png, jpg and their like; "
            "convert it, for example with ffmpeg."
        ) from error
    if LISTS.intersection(container.format.name.split(",")):
        container.close()
        raise CaptureError(
            f"'{path}' is a list of other files ({container.format.name}); expected a film or a photo itself. Give the file that it names."
        )
    return container


def _stream(container: Any, path: Path) -> Any:
    streams = [s for s in container.streams.video if not _cover(s)]
    if not streams:
        what = "sound only" if container.streams.audio else "no pictures"
        raise CaptureError(f"'{path}' holds {what}; capture needs a film or a photo of a face. Choose another file.")
    return streams[0]


def _cover(stream: Any) -> bool:
    """Whether it is the picture of a music file."""
    return "attached_pic" in str(getattr(stream, "disposition", ""))


def _first(container: Any, stream: Any, path: Path) -> Any:
    for _, frame in _decoded(container, stream, 25.0):
        return frame
    raise CaptureError(
        f"'{path}': none of its pictures can be decoded. The file is damaged or cut short; copy it again."
    )


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1e6


def _rate(rate: float) -> float:
    nearest = min(COMMON_RATES, key=lambda common: abs(common - rate))
    if abs(nearest - rate) < 0.02 * rate:
        return nearest
    return min(max(rate, 1.0), 240.0)


def _turns(frame: Any) -> int:
    """Quarter turns counter-clockwise that make the picture upright."""
    return round(float(getattr(frame, "rotation", 0) or 0) / 90) % 4


def _upright(frame: Any) -> tuple[np.ndarray, float]:
    """(h, w, 3) sRGB and the pixels of Film.size a pixel of it."""
    width, height = _shown_size(frame)
    shrink = max(1, -(-max(width, height) // MAX_SIDE))
    image = frame.to_ndarray(format="rgb24", width=width // shrink, height=height // shrink)
    return np.ascontiguousarray(np.rot90(image, _turns(frame))), float(shrink)


def _shown_size(frame: Any) -> tuple[int, int]:
    """Width and height with square pixels, before turning: tape formats have oblong ones."""
    aspect = float(getattr(frame, "sample_aspect_ratio", 0) or 1)
    return round(frame.width * aspect) if 0.2 < aspect < 5 else frame.width, frame.height


def _grey(image: np.ndarray) -> np.ndarray:
    rows, columns = max(1, image.shape[0] // 32), max(1, image.shape[1] // 32)
    return image[::rows, ::columns, 1].astype(np.float32) / 255
