# SPDX-License-Identifier: GPL-3.0-or-later
"""A recording and the same person's motion -> that person's Style, in seconds, on any computer.

The encoder and the networks stay frozen. First the style vector: the network's own style encoder reads it off the statistics
of the motion, without training. Then an affine map of the answer is fitted by ridge regression, pulled towards doing
nothing; how hard is decided by the held-out tail of the take, which plays the part of early stopping in closed form. No
torch, no GPU: 17 x 18 numbers from a minute of motion need neither.

Measured (tools/speech/fit_bench.py): the map takes most of what there is to gain; regressing on the encoder's features as well
(up to 64 components) gained nothing on the held-out part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..errors import MotionError
from ..head.motion import INDEX, Motion
from ..prior.generate import listen
from ..prior.model import Prior, Sampling
from ..prior.mouth import MOUTH, OUTPUTS, RATE, sides
from ..prior.perform import Raw
from ..prior.regression import Regression
from ..prior.style import LARGEST_GAIN, VECTOR, Style
from ..speech.audio import Audio

SHORTEST, LONGEST = 8.0, 180.0
"""Seconds of motion that are asked for at least, and used at most."""
ALIKE, DOUBTFUL = 0.35, 0.5
"""How far the jaw's syllables have to agree with the recording's, and below what the user is told to look again. On captures of
8 to 30 s: .49 and more where both belong together; elsewhere .21 to .27 in the middle, below .35 always from 20 s on."""
SLOW = 0.6
"""Seconds; what changes slower than this, such as where phrases lie, is much the same in any two takes."""
TAIL = 0.2
LAGS = 0.4
"""Seconds by which sound and motion may be apart; tracked video often is, and the fit takes it out."""
STILL = 0.004
"""Standard deviation below which a channel counts as not captured."""
PULLS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GAP = int(0.5 * RATE)
HEAD, BROWS = 2.35, 0.08


class Speaker(Protocol):
    """The network, asked under one style vector or (None) under its default, for the recording at hand."""

    @property
    def network(self) -> str: ...

    def speak(self, vector: np.ndarray | None, seed: int) -> Raw: ...

    def vector(self, curves: np.ndarray, known: np.ndarray) -> np.ndarray:
        """(64,) of (T, 17) curves at RATE, of which `known` (17,) were captured."""
        ...


@dataclass(frozen=True)
class Heard:
    """The Speaker of a recording and a model that ships."""

    audio: Audio
    model: Prior | Regression

    @property
    def network(self) -> str:
        return type(self.model).__name__.lower()

    def speak(self, vector: np.ndarray | None, seed: int) -> Raw:
        return listen(self.audio, seed=seed, style=vector, model=self.model, sampling=Sampling(variety=0.0))

    def vector(self, curves: np.ndarray, known: np.ndarray) -> np.ndarray:
        if isinstance(self.model, Regression):
            return np.zeros(VECTOR, np.float32)
        return self.model.style_of(curves, RATE, known)


@dataclass(frozen=True)
class Fit:
    """A style and how it was found.

    errors: root mean square over the captured channels, 0..1 units, on the held-out tail: "before" (default style), "vector"
    (zero-shot), "after". lag_seconds: how much later the motion was than the sound. pull: the ridge that the tail chose.
    """

    style: Style
    errors: Mapping[str, float]
    lag_seconds: float
    pull: float
    captured: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def fit_voice(
    speaker: Speaker, motion: Motion, *, name: str = "", about: Mapping[str, str] | None = None, zero_shot: bool = False,
    seeds: int = 1, progress: Callable[[float], None] | None = None,
) -> Fit:  # fmt: skip
    """The style of whoever moved like `motion` while saying what `speaker` hears.

    zero_shot: no regression, only the vector and one gain a channel that matches its spread. progress is told 0..1 and may
    raise Cancelled. Raises MotionError where the two do not belong together or are too short.
    """
    report = progress or (lambda _: None)
    report(0.0)
    target, known = mouth_curves_of(motion)
    seconds = len(target) / RATE
    if seconds < SHORTEST:
        raise MotionError(
            f"The motion lasts {seconds:.1f} s; expected at least {SHORTEST:g} s of speech to learn from."
        )
    if not known[MOUTH.index("jawOpen")]:
        raise MotionError("The motion's jawOpen does not move; expected the capture of somebody who speaks.")
    plain = _answer(speaker, None, seeds)
    report(0.3)
    lag, alike = lag_between(plain, target)
    if alike < ALIKE:
        raise MotionError(
            f"The motion does not follow the recording (the jaw agrees to {alike:.2f}, expected at least {ALIKE:g}). "
            "Check that both are of the same take, and that they begin together."
        )
    frames = min(len(plain), len(target) - max(round(lag * RATE), 0), int(LONGEST * RATE))
    at = np.arange(frames) + lag * RATE
    target = np.stack([np.interp(at, np.arange(len(target)), column) for column in target.T], 1)
    taught, tail = slice(0, int((1 - TAIL) * frames) - GAP), slice(int((1 - TAIL) * frames), frames)
    vector = speaker.vector(target[taught], known)
    answer = _answer(speaker, vector, seeds)[:frames]
    report(0.8)
    if zero_shot:
        matrix, offset, pull = *_matched(answer[taught], target[taught], known), np.inf
    else:
        matrix, offset, pull = _regressed(answer, target, known, taught, tail)
    report(0.95)
    mouth = len(MOUTH)
    errors = {
        "before": _error(plain[:frames][tail, :mouth], target[tail], known),
        "vector": _error(answer[tail, :mouth], target[tail], known),
        "after": _error(answer[tail, :mouth] @ matrix + offset, target[tail], known),
    }
    notes = []
    if alike < DOUBTFUL:
        notes.append(
            f"The motion follows the recording only loosely (the jaw agrees to {alike:.2f}, usual is {DOUBTFUL:g} and more); check "
            "that both are of the same take."
        )
    if abs(seconds - len(plain) / RATE) > 2:
        notes.append(
            f"The recording lasts {len(plain) / RATE:.1f} s and the motion {seconds:.1f} s; they were taken to begin together."
        )
    if abs(lag) >= 0.03:
        side = "after" if lag > 0 else "before"
        notes.append(f"The motion came {abs(lag) * 1e3:.0f} ms {side} the sound; the fit took that out.")
    told = {
        **(about or {}), "seconds": f"{seconds:.1f}", "method": "zero-shot" if zero_shot else f"ridge, pull {pull:g}",
        "error": ", ".join(f"{k} {v:.4f}" for k, v in errors.items()),
    }  # fmt: skip
    style = Style(
        name, vector, speaker.network, matrix.astype(np.float32), offset.astype(np.float32), upper_face(motion), told
    )
    report(1.0)
    captured = tuple(channel for channel, is_known in zip(MOUTH, known, strict=True) if is_known)
    return Fit(style, errors, lag, pull, captured, tuple(notes))


def mouth_curves_of(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """(T, 17) curves of MOUTH at RATE, left and right averaged, and (17,) which of them move at all."""
    values = motion.resample(float(RATE)).values
    curves = np.stack([values[:, [INDEX[side] for side in sides(name)]].mean(1) for name in MOUTH], 1)
    return np.clip(curves, 0, 1), (curves.std(0) > STILL).astype(np.float32)


def lag_between(answer: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Seconds by which the target's jaw comes after the answer's, at most LAGS, and the correlation of their syllables there."""
    jaw = MOUTH.index("jawOpen")
    frames, reach = min(len(answer), len(target)), int(LAGS * RATE)
    a, b = _syllables(answer[:frames, jaw]), _syllables(target[:frames, jaw])
    inner = slice(reach, frames - reach)
    scores = [_alike(a[inner], b[reach + k : frames - reach + k]) for k in range(-reach, reach + 1)]
    best = int(np.argmax(scores))
    return (best - reach) / RATE, scores[best]


def _syllables(curve: np.ndarray) -> np.ndarray:
    """A curve without what changes slower than SLOW."""
    window = np.ones(int(SLOW * RATE))
    return curve - np.convolve(curve, window, "same") / np.convolve(np.ones(len(curve)), window, "same")


def upper_face(motion: Motion) -> dict[str, float]:
    """Controls that make the seed's upper face as lively as this person's, for the groups that were captured at all.

    The scales are against what Controls() gives by itself: standard deviations in speech of HEAD degrees and of BROWS
    (tools/speech/life.py).
    """
    found: dict[str, float] = {}
    blink = motion.column("eyeBlinkLeft")
    if blink.std() > 0.02:
        shut = blink > 0.5 * np.percentile(blink, 99.5) + 0.5 * np.median(blink)
        count = int((np.diff(shut.astype(int)) > 0).sum())
        found["blink_rate"] = round(float(np.clip(60 * count / motion.seconds, 2, 50)), 1)
    turns = np.stack([motion.column(n) for n in ("headPitch", "headYaw", "headRoll")], 1)
    if turns.std() > 1e-3:
        size = float(np.degrees(np.sqrt(turns.var(0).mean())))
        found["head_motion"] = round(float(np.clip(size / HEAD, 0.2, 2.5)), 2)
    raised = motion.column("browInnerUp")
    if raised.std() > 0.01:
        found["brows"] = round(float(np.clip(raised.std() / BROWS, 0.2, 2.5)), 2)
    return found


def _answer(speaker: Speaker, vector: np.ndarray | None, seeds: int) -> np.ndarray:
    """(T, 20) mean of a few samples: what is left to chance should not be learned."""
    return np.stack([speaker.speak(vector, seed).curves for seed in range(seeds)]).mean(0)


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else 0.0


def _error(found: np.ndarray, target: np.ndarray, known: np.ndarray) -> float:
    return float(np.sqrt(np.square((np.clip(found, 0, 1) - target)[:, known > 0]).mean()))


def _matched(answer: np.ndarray, target: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One gain and offset a channel that give the answer the target's spread while talking and leave rest at rest."""
    mouth = len(MOUTH)
    talking = answer[:, OUTPUTS.index("rest")] < 0.5
    talking = talking if talking.sum() > RATE else np.ones(len(answer), bool)
    a, b = answer[talking, :mouth].astype(float), target[talking].astype(float)
    gain = np.clip((b.std(0) + 0.003) / (a.std(0) + 0.003), 0.25, 4)
    gain = np.where(known > 0, gain, 1.0)
    offset = np.where(known > 0, b.mean(0) - gain * a.mean(0), 0.0)
    return np.diag(gain), np.clip(offset, -0.3, 0.3)


def _regressed(
    answer: np.ndarray, target: np.ndarray, known: np.ndarray, taught: slice, tail: slice
) -> tuple[np.ndarray, np.ndarray, float]:
    """matrix, offset and the pull towards the identity under which the tail fits best; identity itself is a candidate."""
    mouth = len(MOUTH)
    x, gone = answer[:, :mouth].astype(float), (target - answer[:, :mouth]).astype(float)
    talking = 1 - 0.8 * np.clip(answer[:, OUTPUTS.index("rest")], 0, 1)
    mean, scale = x[taught].mean(0), x[taught].std(0) + 0.02
    design = np.concatenate(((x - mean) / scale, np.ones((len(x), 1))), 1)
    weighted = design[taught] * talking[taught, None]
    gram, right = weighted.T @ design[taught], weighted.T @ gone[taught]
    best = (_error(x[tail], target[tail], known), np.zeros((mouth + 1, mouth)), np.inf)
    for pull in PULLS:
        ridge = np.diag(np.append(np.full(mouth, pull), 1e-3)) * len(design[taught]) * 0.1
        change = np.linalg.solve(gram + ridge, right) * known
        error = _error(x[tail] + design[tail] @ change, target[tail], known)
        if error < best[0]:
            best = (error, change, pull)
    _, change, pull = best
    linear = change[:mouth] / scale[:, None]
    matrix = np.clip(np.eye(mouth) + linear, -LARGEST_GAIN, LARGEST_GAIN)
    return matrix, np.clip(change[mouth] - mean @ linear, -1, 1), pull
