# SPDX-License-Identifier: GPL-3.0-or-later
"""How close pictures of a head come to the film's: PSNR, SSIM, LPIPS, LMD, each whole or in a region.

Pictures are (H, W, 3) float in 0..1, display sRGB, as films are stored. A mask is (H, W), bool or 0..1. With a mask, what lies
outside counts as equal: it is taken from the truth before windows and networks look at it, and the mean is over the mask.
Three regions, never mixed: pasting the real frame round a head adds 5 to 9 dB to a whole picture (SyncTalk, ER-NeRF).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
REGIONS = ("head", "torso", "whole")
"""Head; head and torso, which is the whole person; the frame."""
MOUTH = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178)
"""MediaPipe's landmarks at the places of 48 to 67 of the 68-point scheme: outer lips from the subject's right corner over the
upper lip, then inner lips alike."""


def psnr(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Decibels over the mask; at most 100 (equal pictures)."""
    error = np.square(picture.astype(np.float64) - truth).mean(-1)
    mean = error.mean() if mask is None else (error * mask).sum() / max(float(np.sum(mask)), 1e-9)
    return float(-10 * np.log10(max(mean, 1e-10)))


def ssim(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Structural similarity (Wang et al. 2004): 11 x 11 Gaussian windows of sigma 1.5 that lie inside, mean of the channels."""
    x, y = _outside_as(picture, truth, mask).astype(np.float64), truth.astype(np.float64)
    mx, my = _blurred(x), _blurred(y)
    vx, vy, both = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my, _blurred(x * y) - mx * my
    found = (2 * mx * my + C1) * (2 * both + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    found = found.mean(-1)
    if mask is None:
        return float(found.mean())
    edge = WINDOW // 2
    inner = np.asarray(mask, np.float64)[edge:-edge, edge:-edge]
    return float((found * inner).sum() / max(inner.sum(), 1e-9))


def lpips(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """LPIPS-Alex, smaller is closer; see lpips.py. Raises AssetError where its weights cannot be had."""
    import torch

    from .lpips import load_lpips

    pair = [
        torch.from_numpy(np.ascontiguousarray(p, np.float32)).permute(2, 0, 1)[None]
        for p in (_outside_as(picture, truth, mask), truth)
    ]
    weight = None if mask is None else torch.from_numpy(np.asarray(mask, np.float32))[None, None]
    with torch.no_grad():
        return float(load_lpips()(*pair, weight))


def lmd(points: np.ndarray, truth: np.ndarray, places: Sequence[int] = MOUTH) -> float:
    """Mean distance in pixels of landmarks (T, 478, 2), frame by frame after each set's own mean is taken off; frames with NaN
    are left out. (LMDMeter of ER-NeRF, with the lips' 20 points; position is forgiven, size is not.)"""
    a, b = points[:, list(places)], truth[:, list(places)]
    known = np.isfinite(a).all((1, 2)) & np.isfinite(b).all((1, 2))
    if not known.any():
        return float("nan")
    a, b = a[known], b[known]
    return float(np.linalg.norm((a - a.mean(1, keepdims=True)) - (b - b.mean(1, keepdims=True)), axis=-1).mean())


def landmarks(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(T, 478, 2) pixels of the largest face in each picture, found anew in each; NaN where none is found. About 15 ms each.
    Raises CaptureError without MediaPipe."""
    from loquent.core.capture.landmarker import Landmarker

    found = np.full((len(pictures), 478, 2), np.nan, np.float32)
    with Landmarker() as landmarker:
        for k, picture in enumerate(pictures):
            if faces := landmarker.photo((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)):
                found[k] = faces[0].points
    return found


@dataclass(frozen=True)
class Scores:
    """Means over frames. lmd only where a face is asked for and found, else NaN."""

    psnr: float
    ssim: float
    lpips: float
    lmd: float = float("nan")

    def row(self) -> str:
        return f"{self.psnr:8.2f}{self.ssim:8.4f}{self.lpips:8.4f}" + (
            f"{self.lmd:8.2f}" if self.lmd == self.lmd else ""
        )


HEADER = f"{'PSNR':>8}{'SSIM':>8}{'LPIPS':>8}{'LMD px':>8}"


def scores(
    pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None,
    *, perceptual: bool = True,
) -> Scores:  # fmt: skip
    """PSNR, SSIM and LPIPS, each the mean over frames. perceptual: with LPIPS, .1 s a frame of 450 x 450; NaN without."""
    rows = [
        (psnr(p, t, m), ssim(p, t, m), lpips(p, t, m) if perceptual else np.nan)
        for p, t, m in zip(pictures, truths, masks or [None] * len(truths), strict=True)
    ]
    return Scores(*(float(value) for value in np.mean(rows, 0)))


def by_region(
    pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray], masks: Sequence[dict[str, np.ndarray]],
    truth_landmarks: np.ndarray | None = None, *, perceptual: bool = True,
) -> dict[str, Scores]:  # fmt: skip
    """Scores for each of REGIONS. masks: one dictionary a frame with "head" and "torso" (the whole person).

    truth_landmarks: of `landmarks(truths)`, asks for LMD, which is the same for all regions.
    """
    mouth = float("nan") if truth_landmarks is None else lmd(landmarks(pictures), truth_landmarks)
    found = {}
    for region in REGIONS:
        chosen = None if region == "whole" else [mask[region] for mask in masks]
        one = scores(pictures, truths, chosen, perceptual=perceptual)
        found[region] = Scores(one.psnr, one.ssim, one.lpips, mouth)
    return found


def figures(prefix: str, found: dict[str, Scores]) -> dict[str, float]:
    """Flat names for JSON: prefix_region_metric; what is NaN is left out."""
    flat = {
        f"{prefix}_{region}_{field.name}": getattr(score, field.name)
        for region, score in found.items()
        for field in fields(score)
    }
    return {name: value for name, value in flat.items() if value == value}


def _outside_as(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is None:
        return picture
    share = np.asarray(mask, np.float32)[..., None]
    return picture * share + truth * (1 - share)


def _blurred(values: np.ndarray) -> np.ndarray:
    """Windows that lie inside: (H - 10, W - 10, C)."""
    x = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-0.5 * np.square(x / SIGMA))
    kernel /= kernel.sum()
    down = sliding_window_view(values, WINDOW, 0) @ kernel
    return sliding_window_view(down, WINDOW, 1) @ kernel
