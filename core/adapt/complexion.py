# SPDX-License-Identifier: GPL-3.0-or-later
"""What is skin and what is hair in a photo, by colour: two Gaussians in brightness and tint, learned from the photo itself."""

from dataclasses import dataclass

import numpy as np

from ..capture.matte import box
from .shot import BUST, OUTER, Shot

DARK = 0.004
"""Added to light before its logarithm is taken: noise in black must not look like a colour."""
LEAST_HAIR = 30
"""Pixels of hair needed to learn its colour."""


ROUGH, LEAST_ROUGH = 1.6, 0.006
"""Median change of brightness, in logarithms, within 2 mm of hair in the cheeks'; bald crowns have up to 1.15 of it, buzz
cuts 2 and more. And of cheeks at least, for noise-free pictures."""
STRANGE = 9.0
"""Squared distance from the skin's colours."""
WHERE = 3.0
"""Log odds that what lies above the forehead is hair, in a photo without colours."""


@dataclass(frozen=True)
class Complexion:
    """skin, hair: (S, S) 0..1 shares of each pixel that are so, matte included; skin_colour (3,), hair_colour (3,) linear
    medians; bald: no hair is seen above the head."""

    skin: np.ndarray
    hair: np.ndarray
    skin_colour: np.ndarray
    hair_colour: np.ndarray
    bald: bool


def features(light: np.ndarray) -> np.ndarray:
    """(..., 3) brightness and two tints, logarithms."""
    logs = np.log(np.maximum(light, 0) + DARK)
    return np.stack([logs.mean(-1), logs[..., 0] - logs[..., 1], logs[..., 1] - logs[..., 2]], -1)


def complexion(shot: Shot) -> Complexion:
    """Learn skin from the middle of the face, hair from what lies above the bald head, and sort all pixels."""
    seen = features(shot.light)
    head = shot.head
    cheeks = _shown(shot, _middle_of_face(head))
    if not cheeks.any():
        cheeks = (shot.first == OUTER) & (shot.matte > 0.5)
    skin_model = _Model(seen[cheeks], np.array([0.4, 0.08, 0.08]), shade=0.55)
    rows = np.arange(shot.side)[:, None] + 0.5
    eyes = float(
        shot.seen_from(shot.vertices[[head.landmarks["eye_left_outer"], head.landmarks["eye_right_outer"]]])[0][
            :, 1
        ].mean()
    )
    inside = shot.matte > 0.9
    outside = inside & (shot.first == -1) & (rows < eyes)
    crown = _shown(shot, head.masks["scalp"] > 0.6) & (rows < eyes)
    above = int(outside.sum()) >= max(LEAST_HAIR, 2 * int(np.sqrt(crown.sum() + 1)))
    known = outside if above else crown
    grows = any(_grows(shot, seen, region, cheeks, skin_model) for region in (crown, outside if above else crown))
    skin_colour = np.median(shot.light[cheeks], 0)
    grey = is_grey(skin_colour)
    if known.any() and not grey:  # without tints, fair hair is as bright as skin, and has to be known by its place
        known = known & (skin_model.distance(seen) > 4)
    bald = not grows or int(known.sum()) < LEAST_HAIR
    if bald:
        return Complexion(shot.matte.copy(), np.zeros_like(shot.matte), skin_colour, 0.3 * skin_colour, True)
    hair_model = _Model(seen[known], np.array([0.5, 0.10, 0.12]))
    odds = 0.5 * (skin_model.distance(seen) + skin_model.volume - hair_model.distance(seen) - hair_model.volume)
    odds = odds + WHERE * (outside | crown) if grey else odds
    share = 1 / (1 + np.exp(-np.clip(box(np.clip(odds, -6, 6).astype(np.float32), 1), -20, 20)))
    near = hair_model.distance(seen) < 30
    return Complexion(
        shot.matte * (1 - share), shot.matte * share * near, skin_colour, np.median(shot.light[known], 0), False
    )  # fmt: skip


def is_grey(colour: np.ndarray) -> bool:
    """Whether a skin's linear colour (3,) is of a black and white photo."""
    return bool(np.ptp(colour) < 0.02 * colour.max())


def _grows(shot: Shot, seen: np.ndarray, region: np.ndarray, cheeks: np.ndarray, skin: "_Model") -> bool:
    """Whether a region (S, S) above the forehead is hair: rougher than the cheeks, or of a colour that no light makes of skin.
    A bald crown is smooth, and where its colour is not the cheeks' it is brighter and greyer, for it shines."""
    if int(region.sum()) < LEAST_HAIR:
        return False
    fine = np.abs(seen[..., 0] - box(seen[..., 0].astype(np.float32), max(1, round(0.002 / shot.pixel))))
    if np.median(fine[region]) > ROUGH * max(float(np.median(fine[cheeks])), LEAST_ROUGH):
        return True
    brighter = float(np.median(seen[region][:, 0])) - skin.mean[0]
    tint = float(np.median(np.abs(seen[region][:, 1:] - skin.mean[1:]).max(-1)))
    strange = float(np.median(skin.distance(seen[region]))) > STRANGE
    return strange and (brighter < -0.4 or (tint > 0.25 and brighter < 0.2))


def _middle_of_face(head) -> np.ndarray:
    """(V,) cheeks, nose and chin: skin on everybody, but for beards."""
    x, y, z = head.template.T
    part = (np.abs(x) < 0.05) & (y > -0.012) & (y < 0.028) & (z > 0.06)
    part &= head.masks["eyelids"] < 0.1
    part[head.parts["skin"].stop :] = False
    return part


def _shown(shot: Shot, vertices: np.ndarray) -> np.ndarray:
    """(S, S) pixels in which vertices of a mask (V,) are seen, of the person's outside."""
    index = np.flatnonzero(vertices & (shot.head.template[:, 1] > BUST))
    pixels, z = shot.seen_from(shot.vertices[index])
    column, row = np.clip(pixels.astype(int), 0, shot.side - 1).T
    front = (z < shot.depth.min(0)[row, column] + 0.003) & (shot.first[row, column] == OUTER)
    out = np.zeros(shot.matte.shape, np.float32)
    out[row[front], column[front]] = 1
    spread = max(1, round(0.004 / shot.pixel))
    return (box(out, spread) > 0) & (shot.matte > 0.9) & (shot.first == OUTER)


class _Model:
    """A normal distribution of features, with variances no smaller than `least` squared and outliers left out.

    shade: what counts of being darker than the mean: skin lies in shadow here and there and keeps its tint.
    """

    def __init__(self, samples: np.ndarray, least: np.ndarray, shade: float = 1.0) -> None:
        self.shade = shade
        self.mean = np.median(samples, 0)
        for _ in range(2):
            off = samples - self.mean
            scale = np.maximum(1.48 * np.median(np.abs(off), 0), least)
            kept = samples[(np.abs(off) < 3 * scale).all(1)]
            self.mean = kept.mean(0) if len(kept) else self.mean
        off = (kept if len(kept) else samples) - self.mean
        spread = off.T @ off / max(len(off), 1) + np.diag(least**2)
        self.inverse = np.linalg.inv(spread)
        self.volume = float(np.linalg.slogdet(spread)[1])

    def distance(self, values: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance of (..., 3)."""
        off = values - self.mean
        off = np.concatenate([np.where(off[..., :1] < 0, self.shade * off[..., :1], off[..., :1]), off[..., 1:]], -1)
        return np.einsum("...i,ij,...j->...", off, self.inverse, off)
