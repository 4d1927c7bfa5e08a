# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped prior: sound in, what the mouth does out, window by window, of any length and in constant memory.

One window is heard by the encoder and the Listener, then the Denoiser takes the noise out of the mouth in a few steps. Its first
CONTEXT frames are those already performed, and where two windows overlap the next one fades in, so there is no seam; noise
belongs to a frame of the recording, not of a window. `stream` is the only implementation: `listen` feeds it a whole recording.
core/data/speech.md says what the weights learned from.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..assets import data_file
from ..errors import MotionError
from ..room import blocks, room
from ..speech.audio import Audio
from ..speech.encoder import HOP, Encoder, Window, encode, load_encoder, load_session, speech_gain, window_mel
from .diffusion import SIGMA_MAX, denoiser, sigmas
from .mouth import CLEAR_REACH, MOUTH, OUTPUTS, REACH, STATES, clearness, decided, eased, finer, style_numbers
from .regression import loudness, silence
from .sampling import SAMPLERS, guided

KEEP, MARGIN = 400, 75
"""Frames a window answers for (8 s) and sees beyond to each side (1.5 s)."""
CONTEXT, FADE = 25, 12
NOISE_BLOCK = 64
STYLE = 64
STYLE_NAMES = ("articulated", "captured")
CORNERS, UPPER = ("mouthSmile", "mouthFrown", "mouthStretch"), ("mouthUpperUp", "mouthRollUpper", "mouthShrugUpper")
LIVELY = {"jawOpen": 0.955, **dict.fromkeys(CORNERS, 1.3), **dict.fromkeys(UPPER, 1.12)}
"""What the networks' answer is multiplied by. An answer that cannot foresee everything is damped, as the mean of what is likely
must be; these give corners and upper lip the variance of the actor's on validation captures. The jaw's is shared with LOUD."""
LOUD = 0.22
"""How much of `loud_jaw` the jaw gets where the network opens it at all: on validation captures both together follow the actor
better than either does (r .872 against .864 and .817) at the variance of his jaw; more of it opens the jaw in noise."""


@dataclass(frozen=True)
class Sampling:
    """How the mouth is drawn. The defaults were chosen on validation clips (core/data/speech.md).

    steps: evaluations of the network a window, 0 is the plain regression. sampler: a name of SAMPLERS. guidance: of the audio,
    1 is none. variety: scale of the noise that is drawn, 0 is the most likely motion, 1 as varied as what was learned from.
    """

    steps: int = 2
    sampler: str = "multistep"
    guidance: float = 1.0
    variety: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise MotionError(f"There is no sampler '{self.sampler}'; expected one of {', '.join(SAMPLERS)}.")
        if not (0 <= self.steps <= 1000 and 0 <= self.guidance <= 10 and 0 <= self.variety <= 2):
            raise MotionError(
                f"{self} is out of range; expected 0 to 1000 steps, guidance of 0 to 10, variety of 0 to 2."
            )


DEFAULT = Sampling()


@dataclass(frozen=True)
class Prior:
    """encoder and ONNX sessions; scale (17,): units of the networks' channels; styles: name -> (64,)."""

    encoder: Encoder
    listener: Any
    denoiser: Any
    style: Any
    scale: np.ndarray
    styles: dict[str, np.ndarray]

    def style_of(self, curves: np.ndarray, rate: float, present: np.ndarray | None = None) -> np.ndarray:
        """(64,) the style of somebody's motion: curves (T, 17 or more) of MOUTH, a few seconds at least; see style_numbers."""
        return self.style.run(None, {"numbers": style_numbers(curves, rate, present)[None]})[0][0]

    def mixed_style(self, captured: float) -> np.ndarray:
        """(64,) between the phone-derived articulation (0) and the captured actor (1)."""
        a, b = (self.styles[name] for name in STYLE_NAMES)
        return a + np.float32(captured) * (b - a)


def load_prior(folder: Path | None = None, encoder: Path | None = None, threads: int = 0) -> Prior:
    """The prior in `folder`, or the one that ships."""

    def session(name: str) -> Any:
        return load_session(folder / name if folder else data_file(name), threads)

    listener = session("speech.onnx")
    about = json.loads(listener.get_modelmeta().custom_metadata_map["loquent"])
    styles = {name: np.array(values, np.float32) for name, values in about["styles"].items()}
    scale = np.array(about["scale"], np.float32)
    return Prior(
        load_encoder(encoder, threads), listener, session("denoiser.onnx"), session("style.onnx"), scale, styles
    )


@dataclass(frozen=True)
class Piece:
    """What `stream` gives of n frames at 50 Hz, one piece after another.

    channels (n, 17); states (2n, 3) probabilities at 100 Hz; levels (n,) dB of full scale at speech level.
    """

    channels: np.ndarray
    states: np.ndarray
    levels: np.ndarray


def frame_noise(seed: int, begin: int, end: int) -> np.ndarray:
    """(end - begin, 17) normal numbers that belong to these frames of the recording, wherever windows lie."""
    blocks = range(begin // NOISE_BLOCK, (end - 1) // NOISE_BLOCK + 1)
    drawn = [
        np.random.default_rng([seed & 0xFFFFFFFF, b]).standard_normal((NOISE_BLOCK, len(MOUTH)), np.float32)
        for b in blocks
    ]
    return np.concatenate(drawn)[begin - blocks[0] * NOISE_BLOCK :][: end - begin]


@dataclass
class _Sound:
    """The samples that windows still need; `first` is the feature frame they begin at."""

    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    first: int = 0

    @property
    def frames(self) -> int:
        return self.first + -(-len(self.samples) // HOP)

    def forget(self, frame: int) -> None:
        self.samples = self.samples[(frame - self.first) * HOP :].copy()
        self.first = frame


def stream(
    model: Prior, chunks: Iterable[np.ndarray], *, gain: float, seed: int = 0, style: np.ndarray,
    sampling: Sampling = DEFAULT, keep: int = KEEP,
) -> Iterator[Piece]:  # fmt: skip
    """Pieces of a performance while its sound is still coming: chunks of samples at 16 kHz of any size.

    gain brings the voice to one level (speech_gain of a recording of the same voice and microphone). A piece of `keep` frames
    comes 1.5 s after its last frame was spoken; shorter ones cost more. The pieces do not depend on how the sound was cut.
    """
    performer = _Performer(model, np.float32(gain), seed, style, sampling)
    sound, begin, parts = _Sound(), 0, 0
    pending: list[np.ndarray] = []
    for chunk in chunks:
        pending.append(np.asarray(chunk, np.float32))
        parts += len(chunk)
        if len(sound.samples) + parts < (begin + keep + MARGIN + 1 - sound.first) * HOP:
            continue
        sound.samples, pending, parts = np.concatenate((sound.samples, *pending)), [], 0
        while len(sound.samples) >= (begin + keep + MARGIN + 1 - sound.first) * HOP:
            end = begin + keep
            yield performer.window(sound, Window(max(0, begin - MARGIN), end + MARGIN, begin, end))
            begin = end
            sound.forget(max(0, begin - MARGIN - 1))
    sound.samples = np.concatenate((sound.samples, *pending))
    while begin < sound.frames:
        frames = sound.frames
        end = frames if frames - begin - keep < MARGIN else begin + keep  # no sliver of a last window
        yield performer.window(sound, Window(max(0, begin - MARGIN), min(frames, end + MARGIN), begin, end))
        begin = end


@dataclass
class _Performer:
    """Windows in their order; holds the end of the last one."""

    model: Prior
    gain: np.float32
    seed: int
    style: np.ndarray
    sampling: Sampling
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, len(MOUTH)), np.float32))  # the last frames, scaled
    ahead: np.ndarray = field(
        default_factory=lambda: np.zeros((0, len(MOUTH)), np.float32)
    )  # what they meant to do next

    def window(self, sound: _Sound, window: Window) -> Piece:
        first = sound.first
        here = Window(window.begin - first, window.end - first, window.keep_begin - first, window.keep_end - first)
        audio = Audio(sound.samples)
        mel = window_mel(audio, here, float(self.gain))
        style = self.style.reshape(1, STYLE).astype(np.float32)
        heard = {
            "features": encode(self.model.encoder, mel)[None],
            "mel": mel.T.reshape(1, -1, 2 * mel.shape[0]),
            "style": style,
        }
        tokens, mean, states = self.model.listener.run(None, heard)
        skipped, kept = window.keep_begin - window.begin, window.keep_end - window.keep_begin
        states = 1 / (1 + np.exp(-np.clip(states[0, 2 * skipped :][: 2 * kept], -30, 30)))
        levels = loudness(audio.samples[here.begin * HOP : here.end * HOP], float(self.gain))
        quiet = silence(levels)[skipped:][:kept]
        states[:, STATES.index("rest")] = np.maximum(states[:, STATES.index("rest")], np.repeat(quiet, 2))
        start = skipped - len(self.before)
        found = self._sampled(tokens[:, start:], mean[0, start:], style, window.begin + start)[len(self.before) :]
        fade = min(FADE, len(self.ahead), kept)
        if fade:
            part = ((np.arange(fade, dtype=np.float32) + 0.5) / fade)[:, None]
            found[:fade] = part * found[:fade] + (1 - part) * self.ahead[:fade]
        self.before, self.ahead = found[max(0, kept - CONTEXT) : kept], found[kept:][:FADE]
        return Piece(found[:kept] * self.model.scale, states.astype(np.float32), levels[skipped:][:kept])

    def _sampled(self, tokens: np.ndarray, mean: np.ndarray, style: np.ndarray, frame: int) -> np.ndarray:
        """(T, 17) scaled channels of the frames from `frame` on, the first of them as already performed."""
        if not self.sampling.steps:
            return mean.copy()
        known = np.zeros((1, len(mean), 1), np.float32)
        known[:, : len(self.before)] = 1
        before = np.zeros((1, *mean.shape), np.float32)
        before[0, : len(self.before)] = self.before - mean[: len(self.before)]

        def network(on: float) -> Callable[[np.ndarray, float], np.ndarray]:
            def raw(x: np.ndarray, number: float) -> np.ndarray:
                given = {"noisy": x, "tokens": tokens, "style": style, "before": before, "known": known}
                numbers = {"noise": np.array([number], np.float32), "heard": np.array([on], np.float32)}
                return self.model.denoiser.run(None, given | numbers)[0]

            return raw

        denoise = guided(denoiser(network(1.0)), denoiser(network(0.0)), self.sampling.guidance)
        levels = sigmas(self.sampling.steps)
        noise = self.sampling.variety * SIGMA_MAX * frame_noise(self.seed, frame, frame + len(mean))
        rest = SAMPLERS[self.sampling.sampler](denoise, noise[None].astype(np.float32), levels)[0]
        return mean + rest.astype(np.float32)


_LOUD_REACH = 7


def loud_jaw(levels: np.ndarray) -> np.ndarray:
    """(F + 2 * _LOUD_REACH,) levels in dB -> (F,) how far the jaw opens as far as loudness tells, at NETWORK_RATE.

    The root of the amplitude, smoothed by 40 ms and 20 ms late, scaled to the captured actor's jaw: what fitted him best of such curves
    (tools/speech_bench/baselines.py, which is also the benchmark's row for loudness).
    """
    curve = 10 ** (np.maximum(levels, -60.0) / 40)
    kernel = np.exp(-0.5 * (np.arange(1 - _LOUD_REACH, _LOUD_REACH) / 2) ** 2)
    smooth = np.convolve(curve, kernel / kernel.sum(), "valid")[:-2]
    return np.maximum(1.298 * smooth - 0.036, 0).astype(np.float32)


def joined(pieces: Iterable[Piece], frames: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """curves (2F, 20) of OUTPUTS at mouth.RATE with the states decided, and levels (F,), of all pieces of a stream.

    `frames` is F where it is known: pieces are then not kept, and what is needed beside the result does not grow with it.
    """
    if not frames:
        pieces = list(pieces)
        frames = sum(len(piece.channels) for piece in pieces)
    channels, states, levels = room((frames, len(MOUTH))), room((2 * frames, len(STATES))), room((frames,))
    end = 0
    for piece in pieces:
        begin, end = end, end + len(piece.channels)
        channels[begin:end], states[2 * begin : 2 * end], levels[begin:end] = piece.channels, piece.states, piece.levels
    assert end == frames, (end, frames)
    curves = room((2 * frames, len(OUTPUTS)))
    lively = np.array([LIVELY.get(name, 1.0) for name in MOUTH], np.float32)
    for part in blocks(frames):
        here = slice(2 * part.start, 2 * part.stop)
        curves[here, : len(MOUTH)] = finer(channels[part.start : part.stop + 1])[: here.stop - here.start] * lively
        around = np.arange(part.start - _LOUD_REACH, min(part.stop + 1, frames) + _LOUD_REACH)
        loud = finer(loud_jaw(levels[np.clip(around, 0, frames - 1)])[:, None])[: here.stop - here.start, 0]
        jaw = curves[here, MOUTH.index("jawOpen")]
        jaw += LOUD * loud * eased(jaw, 0.02, 0.09)
        near = slice(max(0, part.start - REACH), min(frames, part.stop + REACH))
        around = np.arange(near.start - CLEAR_REACH, near.stop + CLEAR_REACH)
        clear = clearness(levels[np.clip(around, 0, frames - 1)])
        found = decided(states[2 * near.start : 2 * near.stop], clear)
        curves[here, len(MOUTH) :] = found[here.start - 2 * near.start :][: here.stop - here.start]
    return curves, levels


def prior_curves(
    model: Prior, audio: Audio, *, style: np.ndarray, seed: int = 0, sampling: Sampling = DEFAULT,
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """`joined` of a whole recording. progress is told 0..1 and may raise."""

    def told() -> Iterator[Piece]:
        done, frames = 0, max(1, -(-len(audio.samples) // HOP))
        whole = (audio.samples[at : at + 30 * HOP] for at in range(0, len(audio.samples), 30 * HOP))
        for piece in stream(model, whole, gain=speech_gain(audio.samples), seed=seed, style=style, sampling=sampling):
            done += len(piece.channels)
            yield piece
            if progress:
                progress(done / frames)

    return joined(told(), -(-len(audio.samples) // HOP))
