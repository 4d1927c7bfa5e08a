# SPDX-License-Identifier: GPL-3.0-or-later
"""The table as a picture: one panel a question, one bar a row, the target as a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from .rows import rows

PANELS = (
    # title, figures with the words for them, the side on which good lies, limit of the axis
    ("p, b, m with lips shut (more is better)", (("closure_recall_unseen", "unseen voices"), ("closure_recall_real", "real speech"),
     ("closure_recall_languages", "new languages"), ("closure_recall_noise", "5 dB noise"), ("closure_recall_telephone", "telephone")), 1.0),
    ("vowels with lips shut (less is better)", (("false_closure_unseen", "unseen voices"), ("false_closure_real", "real speech"),
     ("false_closure_languages", "new languages"), ("false_closure_noise", "5 dB noise"), ("false_closure_telephone", "telephone")), 0.4),
    ("timing of closures, median |lag|, ms (less)", (("lag_ms", ""),), None),
    ("jaw against an actor's, r (more)", (("jaw_r", "unseen take"), ("jaw_r_tails", "unseen ends")), 1.0),
    ("distance from the actor's lips, mm (less)", (("lve_mm", "lip vertices"), ("opening_mm", "opening")), None),
    ("lip speed in pauses / in speech (less)", (("silence_ratio", "quiet"),), 0.3),
)  # fmt: skip
COLOURS = {"ours": "#d1495b", "regression": "#edae49", "fitted": "#8d2b3a", "openfacefx": "#9aa5b1"}
OTHERS = ("#30638e", "#5b8db8", "#00798c", "#52a675", "#7768ae", "#b08968")


def targets(table: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    return {figure: float(target.split()[-1]) for figure, _, target in table if target and " to " not in target}


def draw(figures: Mapping[str, Mapping[str, float]], table: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Write the plot; the ending of the path decides its kind."""
    shown = [row for row in rows() if row.name in figures]
    spare = iter(OTHERS)
    colours = {row.name: COLOURS.get(row.name) or next(spare) for row in shown}
    limits = targets(table)
    plt.rcParams["svg.hashsalt"] = "speech_bench"
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.2), layout="constrained")
    for axis, (title, wanted, top) in zip(axes.ravel(), PANELS, strict=True):
        height = 0.86 / len(shown)
        for group, (name, _) in enumerate(wanted):
            for k, row in enumerate(shown):
                value = figures[row.name].get(name, float("nan"))
                if np.isnan(value):
                    continue
                y = group + (k + 0.5) * height - 0.43
                axis.barh(y, min(value, top) if top else value, height * 0.92, color=colours[row.name])
                if top and value > top:
                    axis.text(top, y, f" {value:.2f}", va="center", fontsize=7)
            if name in limits:
                axis.plot([limits[name]] * 2, [group - 0.45, group + 0.45], color="black", linewidth=1.2)
        axis.set_yticks(range(len(wanted)), [says for _, says in wanted])
        axis.set_ylim(len(wanted) - 0.5, -0.5)
        axis.set_xlim(0, top * 1.08 if top else None)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[row.name]) for row in shown] + [
        plt.Line2D([], [], color="black")
    ]
    labels = [row.title for row in shown] + ["our target"]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=90)
    plt.close(figure)
