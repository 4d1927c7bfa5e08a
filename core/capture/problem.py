# SPDX-License-Identifier: GPL-3.0-or-later
"""One clip as a least-squares problem: what is seen, what is expected, and the quadratic that both make at any point.

Coefficients stay within 0..1 and near zero where nothing is seen; MediaPipe's own scores are one weak observation among
others. Opposite lip and lid margins are compared with each other, besides each by itself: whether a mouth is shut is a matter
of tenths of a millimetre, a landmark's place on a stranger's face of millimetres.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry.rotations import matrix_to_quat_wxyz, quat_wxyz_to_matrix
from ..head.head import Head, Identity
from ..head.motion import ARKIT, CHANNELS, INDEX, LOOK_RADIANS
from .embedding import EYE_CORNERS, LOWER_LIDS, LOWER_LIP, OUTER_CORNERS, UPPER_LIDS, UPPER_LIP, Embedding
from .face_model import AT, COLUMNS, FITTED, UNITS, FaceModel, derivatives, face_model, head_turns
from .landmarker import COUNT, IRISES

RESTING, RESTING_FRAMES = 0.15, 25
"""Quantile of MediaPipe's scores that is taken to be the person's face at rest, and in how many frames that is half sure:
arched brows or full lips would be an expression for ever, otherwise."""
SHUT = 0.6
"""Rise of MediaPipe's blink score when lids meet."""
LOOK_PITCH, LOOK_YAW = 1.25, 2.3
"""Rise of MediaPipe's scores of a look a radian, on renders (1.2 and 2.3 in the middle of seven people)."""
GAZE = [AT["gazePitch"], AT["gazeYaw"]]
AT_ONCE = 512
"""Frames whose landmarks are worked on together."""
COMPONENTS = 60
"""Identity components that are fitted: what landmarks cannot tell stays at the mean."""


@dataclass(frozen=True)
class Weights:
    """Standard deviations and factors of the fit; "eye distance" is that between the eyes' outer corners.

    Chosen on renders with known truth (tools/capture/clips.py), frontal to 60 degrees.
    """

    data: float = 0.03  # factor of all landmark terms: neighbours err together, and more so on turned heads
    outlier: float = 3.0  # sigmas beyond which a landmark loses its say
    pair: float = 0.006  # sigma of the difference of opposite margins, eye distances
    expression: float = 0.25  # sigma of a coefficient around its guess
    score: float = 0.5  # how much of the rise of MediaPipe's score is the guess
    blink: float = 0.1  # sigma of the blink around MediaPipe's: lids alone are shut as well by a squint and a look down
    gaze: float = 0.1  # radians around its guess
    look: float = 1.0  # how much of the gaze that MediaPipe's scores tell of is the guess
    gaze_person: float = 0.2  # around straight ahead, while it is found who it is
    shape: float = 0.7  # sigma of a beta
    focal: float = 0.1  # sigma of log(focal)
    rate_units: float = 0.08  # change a frame at 25 fps, of coefficients; 0 ties nothing
    rate_lips: float = 0.16
    rate_lids: float = 0.3
    rate_gaze: float = 0.3
    rate_turn: float = 0.02  # radians
    rate_place: float = 0.003  # metres


@dataclass(frozen=True)
class Seen:
    """What is known of the face chosen in F frames: points (F, 478, 2) pixels, scores (F, 52), index (F,) of the frame."""

    points: np.ndarray
    scores: np.ndarray
    index: np.ndarray


def _pairs() -> np.ndarray:
    """(M, 478) differences of landmarks: opposite lips, opposite lids, irises against their eyes' corners."""
    rows = []
    for upper, lower in zip((*UPPER_LIP, *UPPER_LIDS), (*LOWER_LIP, *LOWER_LIDS), strict=True):
        row = np.zeros(COUNT, np.float32)
        row[upper], row[lower] = 1, -1
        rows.append(row)
    for iris, corners in zip(IRISES, EYE_CORNERS, strict=True):
        row = np.zeros(COUNT, np.float32)
        row[iris], row[list(corners)] = 1, -0.5
        rows.append(row)
    return np.array(rows)


PAIRS = _pairs()
LIP_PAIRS = len(UPPER_LIP)
_FLIP = np.array([1, -1, -1], np.float32)
"""Head space seen by a camera in front: x right stays, y and z turn round."""


class Problem:
    """One clip: what is seen, and the quadratic that it makes at any point."""

    def __init__(
        self, head: Head, embedding: Embedding, seen: Seen, size: tuple[int, int], weights: Weights, fps: float,
        rest: np.ndarray | None = None,
    ):  # fmt: skip
        """rest (52,): MediaPipe's scores of this person's face at rest, see `resting`; taken from what is seen where None."""
        self.model: FaceModel = face_model(head, embedding, COMPONENTS)
        self.seen, self.weights = seen, weights
        self.centre = np.array(size, np.float32) / 2
        self.sigmas = np.maximum(embedding.sigmas, 0.012)
        self.guess, self.spread = self._priors(seen.scores, resting(seen.scores) if rest is None else rest)
        self.low = np.full(len(FITTED), -np.inf, np.float32)
        self.high = np.full(len(FITTED), np.inf, np.float32)
        self.low[: len(UNITS) + 1], self.high[: len(UNITS) + 1] = 0, 1
        self.low[AT["gazePitch"]], self.high[AT["gazePitch"]] = -1.5 * LOOK_RADIANS["Up"], 1.5 * LOOK_RADIANS["Down"]
        self.low[AT["gazeYaw"]], self.high[AT["gazeYaw"]] = -1.5 * LOOK_RADIANS["In"], 1.5 * LOOK_RADIANS["In"]
        self.ties = self._ties(fps)

    def __len__(self) -> int:
        return len(self.seen.index)

    def points_of(self, frames: np.ndarray) -> np.ndarray:
        """(T, 478, 2) pixels from the picture's middle. Not kept: they are most of what a long film takes in memory."""
        return self.seen.points[frames] - self.centre

    def _priors(self, scores: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected values (F, K) and their spread (K,), infinite where nothing is expected."""
        w = self.weights
        guess = np.zeros((len(scores), len(FITTED)), np.float32)
        spread = np.full(len(FITTED), np.inf, np.float32)
        spread[: len(UNITS) + 1] = w.expression
        for k, name in enumerate(FITTED[: len(UNITS) + 1]):
            risen = np.clip(scores[:, ARKIT.index(name)] - rest[ARKIT.index(name)], 0, 1)
            if name.startswith("eyeBlink"):
                guess[:, k] = np.clip(risen / SHUT, 0, 1)
                spread[k] = w.blink
            elif name.startswith("eyeWide"):
                guess[:, k], spread[k] = w.score * risen, w.blink  # else it would pull against a blink
            elif name != "mouthClose":
                guess[:, k] = w.score * risen
        shut = guess[:, [AT["eyeBlinkLeft"], AT["eyeBlinkRight"]]].mean(1)
        guess[:, GAZE] = (
            w.look * looks(scores) * np.c_[np.clip(1 - 2 * shut, 0, 1), np.ones(len(scores))]
        )  # lids pull it down
        spread[GAZE] = w.gaze
        return guess, spread

    def _ties(self, fps: float) -> np.ndarray:
        w = self.weights
        rates = np.full(len(FITTED), w.rate_units)
        for k, name in enumerate(FITTED):
            if name.startswith(("mouth", "jaw")):
                rates[k] = w.rate_lips
            elif name.startswith("eyeBlink"):
                rates[k] = w.rate_lids
            elif name.startswith("gaze"):
                rates[k] = w.rate_gaze
            elif name in ("headPitch", "headYaw", "headRoll"):
                rates[k] = w.rate_turn
            elif name in ("headX", "headY", "headZ"):
                rates[k] = w.rate_place
        return (np.where(rates > 0, 1 / np.maximum(rates, 1e-9) ** 2, 0) * fps / 25).astype(np.float32)

    def bounds(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, K) each; mouthClose goes no further than the jaw is open."""
        low, high = np.repeat(self.low[None], len(values), 0), np.repeat(self.high[None], len(values), 0)
        high[:, AT["mouthClose"]] = np.clip(values[:, INDEX["jawOpen"]], 0, 1)
        return low, high

    def start(self, frames: np.ndarray, focal: float) -> np.ndarray:
        """(T, 65) a neutral face where an affine camera sees the landmarks; places are relative to the camera."""
        return np.concatenate([self._start(frames[i : i + AT_ONCE], focal) for i in range(0, len(frames), AT_ONCE)])

    def _start(self, frames: np.ndarray, focal: float) -> np.ndarray:
        mean = self.model.embedding.of(self.model.head.template)
        firm = np.flatnonzero(self.model.normals[:, 2] > 0.2)
        design = np.c_[mean[firm] * _FLIP, np.ones(len(firm))]
        affine = np.linalg.lstsq(
            design, self.points_of(frames)[:, firm].transpose(1, 0, 2).reshape(len(firm), -1), rcond=None
        )[0]
        affine = affine.reshape(4, len(frames), 2).transpose(1, 2, 0)  # (T, 2, 4)
        first, second = affine[:, 0, :3], affine[:, 1, :3]
        scale = np.sqrt(np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
        u, _, v = np.linalg.svd(np.stack([first, second, np.cross(first, second) / scale[:, None]], 1))
        camera_turn = u @ v
        turn = _FLIP[:, None] * camera_turn * _FLIP  # into head space's axes
        values = np.zeros((len(frames), len(CHANNELS)), np.float32)
        for name, angle in zip(("headYaw", "headPitch", "headRoll"), _yaw_pitch_roll_of(turn), strict=True):
            values[:, INDEX[name]] = angle
        depth = focal / scale
        place = np.c_[affine[:, :, 3] / scale[:, None], depth] * _FLIP
        values[:, [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]] = place  # head space's origin is the head's pivot
        return values

    def residuals(self, person: Identity, values: np.ndarray, frames: np.ndarray, focal: float):
        """Landmarks (T, L, 3), their pixels less those seen (T, L, 2), eye distance in pixels (T,)."""
        points = self.model.points(person, values)
        depth = np.maximum(-points[..., 2], 0.05)
        pixels = focal * points[..., :2] * _FLIP[:2] / depth[..., None]
        a, b = OUTER_CORNERS
        unit = np.linalg.norm(points[:, a] - points[:, b], axis=-1) * focal / depth[:, [a, b]].mean(1)
        return points, pixels - self.points_of(frames), unit

    def quadratic(self, person: Identity, values: np.ndarray, frames: np.ndarray, focal: float):
        """normal (T, K, K), gradient (T, K)."""
        j, r, _ = self._slopes(person, values, frames, focal)
        return self._own(j, r, values, frames)

    def shared_quadratic(self, person: Identity, values: np.ndarray, frames: np.ndarray, focal: float):
        """normal (T, K, K), gradient (T, K), mixed (T, K, S + 1), (S + 1, S + 1), (S + 1,): of betas and log focal."""
        j, r, s = self._slopes(person, values, frames, focal)
        st = s.transpose(0, 2, 1)
        return (
            *self._own(j, r, values, frames, whose=True),
            j.transpose(0, 2, 1) @ s,
            (st @ s).sum(0),
            (st @ r)[..., 0].sum(0),
        )

    def _own(
        self, j: np.ndarray, r: np.ndarray, values: np.ndarray, frames: np.ndarray, whose: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """whose: scores of the gaze, which are off by the same in all frames, have no say in who it is."""
        jt = j.transpose(0, 2, 1)
        normal, gradient = jt @ j, (jt @ r)[..., 0]
        spread, guess = self.spread.copy(), self.guess[frames]
        if whose:
            spread[GAZE], guess[:, GAZE] = self.weights.gaze_person, 0
        expected = 1 / spread**2
        diagonal = np.arange(len(expected))
        normal[:, diagonal, diagonal] += expected + 1e-4
        gradient += expected * (values[:, COLUMNS] - guess)
        return normal, gradient

    def _slopes(self, person: Identity, values: np.ndarray, frames: np.ndarray, focal: float):
        """Of the weighted residuals r (T, R, 1): by channels (T, R, K), and by betas and log focal (T, R, S + 1)."""
        points, off, unit = self.residuals(person, values, frames, focal)
        depth = np.maximum(-points[..., 2], 0.05)
        rows = np.zeros((*points.shape[:2], 2, 3), np.float32)
        per_metre = focal / depth
        rows[..., 0, 0], rows[..., 1, 1] = per_metre, -per_metre
        rows[..., 0, 2] = per_metre * points[..., 0] / depth
        rows[..., 1, 2] = -per_metre * points[..., 1] / depth
        rows /= unit[:, None, None, None]
        off = off / unit[:, None, None]
        slopes, shapes = derivatives(self.model, person, values, points, rows)
        weight = self._trust(values, points, off)
        w = np.sqrt(self.weights.data * weight).astype(np.float32)
        pair = np.sqrt(self.weights.data * self._pair_trust(off)) / self.weights.pair

        def stacked(field: np.ndarray) -> np.ndarray:
            flat = field.reshape(len(values), COUNT, -1)
            both = np.concatenate([w[..., None] * flat, pair[..., None] * (PAIRS @ flat)], 1)
            return both.reshape(len(values), -1, field.shape[-1] if field.ndim == 4 else 1)

        zoom = (off + self.points_of(frames) / unit[:, None, None])[..., None]
        return stacked(slopes), stacked(off), stacked(np.concatenate([shapes, zoom], -1))

    def _trust(self, values: np.ndarray, points: np.ndarray, off: np.ndarray) -> np.ndarray:
        """(T, L) inverse variances: less for outliers and for what looks away from the camera."""
        normals = self.model.normals @ head_turns(values).transpose(0, 2, 1)
        towards = -points / np.linalg.norm(points, axis=-1, keepdims=True)
        facing = np.clip(((normals * towards).sum(-1) + 0.1) / 0.4, 0.02, 1)
        size2 = (off * off).sum(-1) / self.sigmas**2
        return facing / self.sigmas**2 / (1 + size2 / self.weights.outlier**2)

    def _pair_trust(self, off: np.ndarray) -> np.ndarray:
        """(T, M) 0..1, less where a difference is far off."""
        between = PAIRS @ off
        return 1 / (1 + (between * between).sum(-1) / (0.06**2))


def looks(scores: np.ndarray) -> np.ndarray:
    """(F, 2) gaze pitch and yaw in radians, as scores (F, 52) tell of them; pitch from how the person mostly looks, for lids that hang or
    are wide are a look up or down to it."""
    down, inwards, outwards, up = (
        scores[:, [ARKIT.index(f"eyeLook{way}{side}") for side in ("Left", "Right")]]
        for way in ("Down", "In", "Out", "Up")
    )
    pitch = (down - up).mean(1)
    pitch = pitch - np.median(pitch)
    yaw = ((outwards - inwards) * (1, -1)).mean(1)
    return np.stack([pitch / LOOK_PITCH, yaw / LOOK_YAW], 1).astype(np.float32)


def resting(scores: np.ndarray) -> np.ndarray:
    """(52,) scores of the face at rest, of a clip's scores (F, 52)."""
    return np.quantile(scores, RESTING, axis=0) * len(scores) / (len(scores) + RESTING_FRAMES)


def _yaw_pitch_roll_of(turn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles of rotations.yaw_pitch_roll, for matrices (T, 3, 3)."""
    turn = quat_wxyz_to_matrix(matrix_to_quat_wxyz(turn))
    yaw = np.arctan2(turn[:, 0, 2], turn[:, 2, 2])
    pitch = np.arcsin(np.clip(-turn[:, 1, 2], -1, 1))
    roll = np.arctan2(turn[:, 1, 0], turn[:, 1, 1])
    return yaw, pitch, roll
