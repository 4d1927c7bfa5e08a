# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings: any sound file that libsndfile reads, as mono samples at the rate the speech encoder was trained at.

Files are read and resampled block by block, so three hours of 96 kHz stereo never stand in memory at once; what stays is
the mono 16 kHz result (230 MB an hour), of long recordings in a file of the system's that is gone with the process. The resampler is a polyphase windowed sinc in numpy, because Blender's Python has
neither scipy nor soxr: flat to 7 kHz, more than 80 dB down at everything that would alias below it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, gcd
from pathlib import Path

import numpy as np

from ..errors import AudioError
from ..room import room

RATE = 16000
"""Samples per second of every Audio."""

READABLE = "wav, flac, ogg or mp3"
_BLOCK_SECONDS = 8
_ZEROS, _BETA = 26, 9.0  # sinc zero crossings to each side; Kaiser window, about 90 dB

_OTHER_FILES = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BLENDER", "a Blender file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM film"),
)


@dataclass(frozen=True)
class Audio:
    """One recording.

    samples: (n,) float32, mono, RATE per second, within [-1, 1].
    warnings: sentences for the user about what was mended while reading.
    """

    samples: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def read_audio(path: Path | str) -> Audio:
    """The recording in a file, mixed down to mono at 16 kHz.

    Reads wav, flac, ogg and mp3 of any rate, depth and channel count. Samples that are not finite numbers become silence
    and samples beyond full scale scale the whole recording down, each with a warning. Raises AudioError.
    """
    import soundfile

    path = Path(path)
    if path.is_dir():
        raise AudioError(f"'{path}' is a folder; expected a sound file ({READABLE}). Choose a file inside it.")
    if not path.is_file():
        raise AudioError(f"There is no sound file at '{path}'. Check the name, or that the drive is connected.")
    if not path.stat().st_size:
        raise AudioError(f"'{path}' is empty (0 bytes); expected a sound file ({READABLE}). Export or copy it again.")
    try:
        with soundfile.SoundFile(path) as file:
            rate, mended = file.samplerate, [0]
            blocks = file.blocks(rate * _BLOCK_SECONDS, dtype="float32", always_2d=True)
            pieces = resample_blocks((_mono(block, mended) for block in blocks), rate)
            samples = _joined(pieces, ceil(file.frames * RATE / rate))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        if ours := _damaged(path):
            raise AudioError(
                f"'{path}' is a {ours} file that cannot be read to its end ({reason}): it is cut short, damaged, or of a rare "
                "encoding. Copy it again, or export it as plain wav."
            ) from error
        raise AudioError(
            f"'{path}' is not a recording Loquent can read: expected {READABLE}, found {_kind(path)} "
            f"({reason}). Convert it to wav and choose that."
        ) from error
    except OSError as error:
        raise AudioError(f"'{path}' cannot be opened: {error.strerror or error}. Check its permissions.") from error
    if not len(samples):
        raise AudioError(f"'{path}' holds no sound (0 samples); expected a recording. Export it again.")
    return Audio(*_within_full_scale(samples, mended[0], rate))


def from_samples(samples: np.ndarray, rate: float) -> Audio:
    """An Audio from samples in memory: (n,) or (n, channels) at any whole rate, mended as read_audio does."""
    samples, mended = np.asarray(samples, np.float32), [0]
    if not samples.size:
        raise AudioError("The recording holds no sound (0 samples); expected at least one.")
    mono = _mono(samples[:, None] if samples.ndim == 1 else samples, mended)
    return Audio(*_within_full_scale(resample(mono, int(rate)).copy(), mended[0], int(rate)))


def _joined(pieces: Iterable[np.ndarray], expected: int) -> np.ndarray:
    """One array of all pieces, without holding them twice where the header told their length truly."""
    out, used = room((expected,)), 0
    for piece in pieces:
        if used + len(piece) > len(out):
            wider = room((used + len(piece) + len(out) // 2,))
            wider[:used] = out[:used]
            out = wider
        out[used : used + len(piece)] = piece
        used += len(piece)
    return out[:used]


def _mono(block: np.ndarray, mended: list[int]) -> np.ndarray:
    """(n, channels) -> (n,); counts the samples in `mended` that are not finite and silences them."""
    bad = ~np.isfinite(block)
    if bad.any():
        mended[0] += int(bad.any(1).sum())
        block = np.where(bad, np.float32(0), block)
    return block.mean(1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]


def _within_full_scale(samples: np.ndarray, mended: int, rate: int) -> tuple[np.ndarray, tuple[str, ...]]:
    warnings = []
    if mended:
        warnings.append(
            f"{mended} of the recording's samples ({mended / rate:.3g} s) are not numbers and were replaced by silence."
        )
    peak = float(max(samples.max(), -samples.min()))
    if peak > 1.5:  # a float file; less is the ringing of a recording at full scale
        warnings.append(f"The recording's peak is {peak:.3g} times full scale; it was turned down to fit.")
        samples /= np.float32(peak)
    return np.clip(samples, -1, 1, out=samples), tuple(warnings)


def _damaged(path: Path) -> str:
    """Which of the kinds that we read a file says it is; "" where none."""
    with path.open("rb") as file:
        head = file.read(4)
    return next((n for magic, n in ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3")) if head.startswith(magic)), "")  # fmt: skip


def _kind(path: Path) -> str:
    """What the first bytes of a file say it is, in words."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return "an MPEG-4 file (m4a, mp4, mov)"
    return next((name for magic, name in _OTHER_FILES if head.startswith(magic)), "another kind of file")


def resample(samples: np.ndarray, rate: int, target: int = RATE) -> np.ndarray:
    """(n,) at `rate` -> (ceil(n * target / rate),) float32 at `target`, in phase: sample 0 stays at time 0."""
    return np.concatenate([*resample_blocks([samples], rate, target), np.zeros(0, np.float32)])


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, target: int = RATE) -> Iterator[np.ndarray]:
    """`resample` of the concatenated blocks, in pieces; memory stays at a few blocks whatever the length."""
    if rate == target:
        yield from (np.asarray(b, np.float32) for b in blocks)
        return
    up, down = target // gcd(rate, target), rate // gcd(rate, target)
    taps = _filters(up, down)  # (up, width)
    half = taps.shape[1] // 2
    held = np.zeros(half - 1, np.float32)  # the input from `first` on
    first, total, done = -(half - 1), 0, 0  # `done` counts output samples
    for block in blocks:
        total += len(block)
        held = np.concatenate((held, np.asarray(block, np.float32)))
        ready = max(0, -(-(total - half) * up // down))  # outputs whose window is complete
        if ready > done:
            yield _filtered(held, first, done, ready, taps, down)
            done = ready
            keep = (done * down) // up - (half - 1) - first
            held, first = held[keep:].copy(), first + keep
    held = np.concatenate((held, np.zeros(half + 1, np.float32)))
    count = ceil(total * up / down)
    if count > done:
        yield _filtered(held, first, done, count, taps, down)


def _filters(up: int, down: int) -> np.ndarray:
    """(up, width) Kaiser-windowed sinc, one row for each position between input samples."""
    cutoff = min(1.0, up / down) * 0.92
    half = ceil(_ZEROS / cutoff)
    offset = np.arange(-half + 1, half + 1)[None] - np.arange(up)[:, None] / up
    window = np.i0(_BETA * np.sqrt(np.maximum(0, 1 - (offset / half) ** 2))) / np.i0(_BETA)
    taps = cutoff * np.sinc(cutoff * offset) * window
    return (taps / taps.sum(1, keepdims=True)).astype(np.float32)


def _filtered(held: np.ndarray, first: int, begin: int, end: int, taps: np.ndarray, down: int) -> np.ndarray:
    """Outputs begin..end. Those `up` apart share a row of `taps` and windows `down` apart: one product for each row."""
    up, width = taps.shape
    out = np.empty(end - begin, np.float32)
    for k in range(min(up, end - begin)):
        start, row = divmod((begin + k) * down, up)
        start += -(width // 2 - 1) - first
        count = len(range(begin + k, end, up))
        windows = np.lib.stride_tricks.sliding_window_view(held[start:], width)[: (count - 1) * down + 1 : down]
        out[k::up] = windows @ taps[row]
    return out
