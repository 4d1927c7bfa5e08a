# SPDX-License-Identifier: GPL-3.0-or-later
"""A row's motions -> its figures, under the names that the JSON has (ours bare, others' with their name before)."""

from collections.abc import Mapping

import numpy as np

from ...core.head.head import Identity
from ...core.head.motion import INDEX
from . import metrics
from .captures import GROUPS, Capture, at_native_rate
from .metrics import Closures
from .sets import FPS, SETS, Clip

LAGS = 8
"""Frames of 20 ms to both sides among which a row's best constant delay is searched."""
LAG_SETS = ("unseen", "real")


Motions = Mapping[str, np.ndarray | None]


def closures_of(gaps: Mapping[str, np.ndarray], clips: list[Clip], lag: int = 0) -> Closures:
    total = Closures()
    for clip in clips:
        if clip.name in gaps:
            total += metrics.count_closures(metrics.moved(gaps[clip.name], lag), FPS, clip.phones)
    return total


def speech_figures(
    person: Identity, motions: Motions, clips: list[Clip], free_lag: bool
) -> tuple[dict[str, float], dict[str, Closures]]:
    """Closures, timing and silence over all sets; counts by set. free_lag searches one constant delay for the row."""
    gaps, lips = {}, {}
    for clip in clips:
        values = motions[clip.name]
        if values is not None:
            gaps[clip.name], lips[clip.name] = metrics.mouth(person, values)
    if not gaps:  # a row that speaks for the captured actor alone
        return {}, {}
    lag = 0
    if free_lag:
        heard = [clip for clip in clips if clip.set in LAG_SETS]

        def score(frames: int) -> float:
            counts = closures_of(gaps, heard, frames)
            return counts.recall - counts.false_rate

        lag = metrics.best_lag(score, LAGS)
    figures: dict[str, float] = {"shift_ms": 1e3 * lag / FPS}
    counts: dict[str, Closures] = {}
    for name in SETS:
        of = [clip for clip in clips if clip.set == name and clip.name in gaps]
        if not of:
            continue
        counts[name] = found = closures_of(gaps, of, lag)
        figures[f"closure_recall_{name}"] = found.recall
        figures[f"false_closure_{name}"] = found.false_rate
        figures[f"touched_vowels_{name}"] = found.touched_rate
    shutting, parting = [], []
    quiet, loud, noisy = [], [], []
    for clip in clips:
        if clip.name not in gaps:
            continue
        if clip.set in LAG_SETS:
            a, b = metrics.closure_lags(metrics.moved(gaps[clip.name], lag), FPS, clip.phones)
            shutting += a
            parting += b
        still, moving = metrics.lip_speeds(metrics.moved(lips[clip.name], lag), FPS, clip.phones)
        (noisy if clip.set == "noise" else quiet).append(still)
        if clip.set != "noise":
            loud.append(moving)
    if shutting and parting:
        figures["lag_ms"] = 1e3 * float(np.median(np.abs(shutting + parting)))
        figures["shutting_late_ms"] = 1e3 * float(np.median(shutting))
        figures["parting_late_ms"] = 1e3 * float(np.median(parting))
    speech = float(np.concatenate(loud).mean())
    figures["silence_ratio"] = float(np.concatenate(quiet).mean()) / max(speech, 1e-9)
    if noisy:
        figures["silence_ratio_noise"] = float(np.concatenate(noisy).mean()) / max(speech, 1e-9)
    return figures, counts


def capture_figures(
    person: Identity, motions: Motions, captures: list[Capture], free_lag: bool, native: Motions | None = None
) -> dict[str, float]:
    """Against the captured actor; on the whole unseen clip unless the name says otherwise. native: motions at the capture's rate."""
    figures: dict[str, float] = {}
    jaw = INDEX["jawOpen"]
    tails, errors, spoken, acted = [], [], [], []
    for capture in captures:
        values = motions[capture.clip.name]
        if values is None:
            return {}
        truth = capture.truth
        lag = 0
        if free_lag:
            lag = metrics.best_lag(
                lambda k, v=values, t=truth: metrics.correlation(metrics.moved(v, k)[:, jaw], t[:, jaw]), LAGS
            )
        values = metrics.moved(values, lag)
        r = metrics.correlation(values[:, jaw], truth[:, jaw])
        gaps, lips = metrics.mouth(person, values)
        true_gaps, true_lips = metrics.mouth(person, truth)
        if not capture.whole:
            tails.append(r)
            errors.append(metrics.lip_error(lips, true_lips))
            spoken.append(values[: len(truth)])
            acted.append(truth)
            continue
        figures |= {
            "jaw_r": r, "opening_r": metrics.correlation(gaps, true_gaps), "lve_mm": metrics.lip_error(lips, true_lips),
            "opening_mm": float(np.abs(np.maximum(gaps, 0) - np.maximum(true_gaps, 0)).mean()), "capture_shift_ms": 1e3 * lag / FPS,
        }  # fmt: skip
        ratios = metrics.variance_ratios(values, truth, GROUPS)
        figures |= {f"variance_ratio_{name.replace(' ', '_')}": ratio for name, ratio in ratios.items()}
        figures["variance_ratio_min"], figures["variance_ratio_max"] = min(ratios.values()), max(ratios.values())
        there = (native or {}).get(capture.clip.name)
        if there is None:
            there = at_native_rate(values, len(capture.native))
        count = min(len(there), len(capture.native))
        shaken, actor = (metrics.jerk(metrics.mouth(person, v[:count])[1], 30.0) for v in (there, capture.native))
        figures["jerk_ratio"] = shaken / actor
    if tails:
        figures["jaw_r_tails"], figures["lve_mm_tails"] = float(np.mean(tails)), float(np.mean(errors))
        ratios = metrics.variance_ratios(np.concatenate(spoken), np.concatenate(acted), GROUPS)
        figures |= {f"variance_tails_{name.replace(' ', '_')}": ratio for name, ratio in ratios.items()}
        figures["variance_tails_min"], figures["variance_tails_max"] = min(ratios.values()), max(ratios.values())
    return figures


def still_figures(captures: list[Capture], person: Identity) -> dict[str, float]:
    """What a mouth that never moves scores, and one held at the capture's mean: the floor of the millimetre figures."""
    for capture in captures:
        if capture.whole:
            gaps, lips = metrics.mouth(person, capture.truth)
            rest_gaps, rest_lips = metrics.mouth(person, np.zeros_like(capture.truth))
            mean_gaps, mean_lips = metrics.mouth(person, np.broadcast_to(capture.truth.mean(0), capture.truth.shape))
            return {
                "rest_lve_mm": metrics.lip_error(rest_lips, lips), "mean_lve_mm": metrics.lip_error(mean_lips, lips),
                "rest_opening_mm": float(np.abs(np.maximum(rest_gaps, 0) - np.maximum(gaps, 0)).mean()),
                "mean_opening_mm": float(np.abs(np.maximum(mean_gaps, 0) - np.maximum(gaps, 0)).mean()),
            }  # fmt: skip
    return {}
