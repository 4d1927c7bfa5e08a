# SPDX-License-Identifier: GPL-3.0-or-later
"""How well heads of other topologies are registered: an unseen identity remeshed, FLAME 2023 Open, ICT-FaceKit.

    python -m loquent.tools.heads.elsewhere [--json FILE]

And a still head: the built-in ada at rest, written as .ply in another frame and unit, imported (her mouth's inside from bruno)
and posed, against ada posed, beside not moving; heads of LAM the same way; both need MediaPipe with its model. And heads of LAM
on the built-in one, against themselves.

docs/elsewhere.md explains every line. FLAME, ICT-FaceKit and the LAM heads lie in ../shared/data; what is not at hand is named and left out.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from loquent.core.capture.embedding import Embedding, load_embedding
from loquent.core.errors import CaptureError
from loquent.core.geometry.rotations import axis_angle_to_matrix
from loquent.core.head.head import Head, identity, load_head, pose_vertices
from loquent.core.head.motion import ARKIT, CHANNELS, INDEX
from loquent.core.head.registration import Landmarks, Registration, outer_skin, procrustes, register

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TARGET_CELL = 0.0057
"""Metres: remeshed by cells of this size, our skin has some 5,000 vertices."""
MOVED = 1e-3


def remeshed(vertices: np.ndarray, faces: np.ndarray, cell: float = TARGET_CELL) -> tuple[np.ndarray, np.ndarray]:
    """Another topology of the same surface: split into four, then corners merged by cells (and by which way they face)."""
    from loquent.core.geometry.surface import Surface

    v, f = vertices, faces
    edges, index = np.unique(
        np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), 1), axis=0, return_inverse=True
    )
    middle = (index.reshape(3, -1) + len(v)).T
    v = np.concatenate([v, v[edges].mean(1)])
    f = np.concatenate([np.stack([f[:, k], middle[:, k], middle[:, k - 1]], 1) for k in range(3)] + [middle])
    up = Surface(v, f).normals[:, 1] > 0  # lips in contact must not grow together
    key = np.concatenate([np.floor(v / cell + 0.37).astype(np.int64), up[:, None]], 1)
    used = np.unique(f)
    _, cluster = np.unique(key[used], axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    count = np.bincount(cluster)
    merged = np.stack([np.bincount(cluster, v[used, axis]) / count for axis in range(3)], 1)
    full = np.zeros(len(v), np.int64)
    full[used] = cluster
    f = full[f]
    f = f[(f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 2] != f[:, 0])]
    _, first = np.unique(np.sort(f, 1), axis=0, return_index=True)
    return merged, f[np.sort(first)]


def unseen(head: Head, rng: np.random.Generator, betas: float = 1.0) -> np.ndarray:
    """(V, 3): an identity bent by smooth waves of 2 mm that no identity component knows."""
    out = identity(head, (betas * rng.normal(size=len(head.shapedirs))).astype(np.float32)).template.astype(np.float64)
    for _ in range(6):
        wave, phase, way = rng.normal(0, 25, 3), rng.uniform(0, 6.28), rng.normal(0, 0.0008, 3)
        out = out + np.sin(out @ wave + phase)[:, None] * way
    return out


def twin(head: Head, embedding: Embedding, people: int = 3) -> dict[str, float]:
    """Unseen identities remeshed, turned and scaled, with 20 landmarks: errors against the true correspondence, mm."""
    rows: list[dict[str, float]] = []
    skin = outer_skin(head)
    for seed in range(people):
        rng = np.random.default_rng(seed)
        truth = unseen(head, rng)
        v, f = remeshed(truth, skin)
        turn = axis_angle_to_matrix(np.array([0.06, 0.29, 0.03]))
        scale, shift = 1.07, np.array([0.3, -0.2, 0.5])
        truth, v = scale * truth @ turn.T + shift, scale * v @ turn.T + shift
        use = np.linspace(0, len(embedding.corners) - 1, 20).astype(int)
        marks = Landmarks(embedding.corners[use], embedding.weights[use], np.einsum(
            "lk,lkd->ld", embedding.weights[use], truth[embedding.corners[use]]))  # fmt: skip
        started = time.perf_counter()
        found = register(head, v, f, marks)
        seconds = time.perf_counter() - started
        free = register(head, v @ turn, f)  # upright, without landmarks
        face = _face(head)
        rigid = procrustes(marks.ours(head.template.astype(np.float64)), marks.points).of(head.template)
        rows.append({
            "vertices": len(v), "seconds": seconds,
            **{f"{name}_mm": _millimetres(x - truth, face) for name, x in (
                ("similarity", rigid), ("shape", found.shaped), ("nicp", found.vertices), ("free", free.vertices @ turn.T))},
            **{f"{name}_surface_mm": 1e3 * float(found.target.closest(x[face]).distances.mean()) for name, x in (
                ("similarity", rigid), ("shape", found.shaped), ("nicp", found.vertices))},
            **_carried(head, found, truth, scale * turn),
        })  # fmt: skip
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _carried(head: Head, found: Registration, truth: np.ndarray, map_: np.ndarray) -> dict[str, float]:
    """Error of the 52 units carried, where the target moves by more than a millimetre, against the true carrier."""
    from loquent.core.geometry.surface import Surface

    right = Surface(truth, outer_skin(head)).closest(found.target.vertices, found.target.normals)
    units = head.units.astype(np.float64)
    true = np.stack([right.of(outer_skin(head), unit) for unit in units]) @ map_.T
    error = np.linalg.norm(found.carry_displacements(units) - true, axis=-1) * 1e3
    motion = np.linalg.norm(true, axis=-1) * 1e3
    moved = motion > 1e3 * MOVED
    return {"units_mm": float(error[moved].mean()), "units_p95_mm": float(np.percentile(error[moved], 95)),
            "units_motion_mm": float(motion[moved].mean())}  # fmt: skip


def flame(head: Head, embedding: Embedding, people: int = 3) -> dict[str, float]:
    """FLAME 2023 Open: of its 105 MediaPipe landmarks every fifth is given, the error is that of the others, mm."""
    with np.load(DATA / "flame" / "flame2023open_basis60.npz", allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    which = data["landmark_indices"]
    use, rest = np.arange(0, len(which), 5), np.setdiff1d(np.arange(len(which)), np.arange(0, len(which), 5))
    rows: list[dict[str, float]] = []
    rng = np.random.default_rng(0)
    for person in range(people):
        betas = rng.normal(size=60) * (person > 0)
        v = data["v_template"].astype(np.float64) + data["shapedirs"].astype(np.float64) @ betas
        points = np.einsum("lk,lkd->ld", data["lmk_b_coords"], v[data["faces"][data["lmk_face_idx"]]])
        marks = Landmarks(embedding.corners[which[use]], embedding.weights[which[use]], points[use])
        judge = Landmarks(embedding.corners[which[rest]], embedding.weights[which[rest]], points[rest])
        started = time.perf_counter()
        found = register(head, v, data["faces"], marks)
        seconds = time.perf_counter() - started
        free = register(head, v, data["faces"])
        rigid = procrustes(marks.ours(head.template.astype(np.float64)), marks.points).of(head.template)
        face = _face(head)
        rows.append({"seconds": seconds} | {
            f"{name}_mm": 1e3 * float(np.linalg.norm(judge.ours(x) - judge.points, axis=1).mean()) for name, x in (
                ("similarity", rigid), ("shape", found.shaped), ("nicp", found.vertices), ("free", free.vertices))
        } | {
            f"{name}_surface_mm": 1e3 * float(found.target.closest(x[face]).distances.mean()) for name, x in (
                ("similarity", rigid), ("shape", found.shaped), ("nicp", found.vertices))
        })  # fmt: skip
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def ict(head: Head) -> dict[str, float]:
    """ICT-FaceKit: our units carried to its mesh against its artists' own, beside zero motion, and beside the best gain."""
    from loquent.core.head.ict import channels_of, load_ict

    face = load_ict(DATA / "ict" / "ict_facekit_full.npz")
    v, names, deltas = face.neutral.astype(np.float64) / 100, face.names, face.deltas.astype(np.float64) / 100
    faces = np.concatenate([face.quads[:, [0, 1, 2]], face.quads[:, [0, 2, 3]]])
    faces = faces[faces[:, 1] != faces[:, 2]]  # triangles among the quads
    started = time.perf_counter()
    found = register(head, v, faces)
    seconds = time.perf_counter() - started
    used = found.target.used
    person = identity(head, found.betas)
    still = pose_vertices(person, np.zeros(len(CHANNELS), np.float32))
    ours: dict[str, np.ndarray] = {}
    for unit in ARKIT:
        values = np.zeros(len(CHANNELS), np.float32)
        values[INDEX[unit]] = 1
        values[INDEX["jawOpen"]] = max(values[INDEX["jawOpen"]], unit == "mouthClose")
        posed = pose_vertices(person, values) - still
        if unit == "mouthClose":
            posed -= ours["jawOpen"]
        ours[unit] = posed
    rows = []
    near = found.carrier.distances[used] < 0.01
    for name, delta in zip(names, deltas, strict=True):
        units = [unit for unit, factor in channels_of(name) if factor]
        if not units or np.linalg.norm(delta[used], axis=1).max() < 2 * MOVED:
            continue
        carried = found.carry_displacements(np.stack([ours[unit] for unit in units])).sum(0)[used]
        true = delta[used]
        moved = (np.maximum(np.linalg.norm(true, axis=1), np.linalg.norm(carried, axis=1)) > MOVED) & near
        gain = float((carried[moved] * true[moved]).sum() / max((carried[moved] ** 2).sum(), 1e-12))
        rows.append((
            np.linalg.norm(carried - true, axis=1)[moved].mean(), np.linalg.norm(true, axis=1)[moved].mean(),
            np.linalg.norm(gain * carried - true, axis=1)[moved].mean(), gain,
            (carried[moved] * true[moved]).sum() / np.sqrt((carried[moved] ** 2).sum() * (true[moved] ** 2).sum()),
        ))  # fmt: skip
    table = np.array(rows)
    return {
        "seconds": seconds, "surface_mm": found.error * 1e3, "units": len(rows), "error_mm": 1e3 * float(table[:, 0].mean()),
        "zero_mm": 1e3 * float(table[:, 1].mean()), "scaled_mm": 1e3 * float(table[:, 2].mean()),
        "gain": float(np.median(table[:, 3])), "cosine": float(np.median(table[:, 4])),
        "better_than_zero": int((table[:, 0] < table[:, 1]).sum()),
    }  # fmt: skip


POSES: Mapping[str, Mapping[str, float]] = {
    "jaw": {"jawOpen": 0.5}, "o": {"jawOpen": 0.3, "mouthFunnel": 0.6}, "pucker": {"mouthPucker": 0.8},
    "smile": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}, "brows": {"browInnerUp": 0.9, "browOuterUpLeft": 0.7},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, "gaze": {"gazeYaw": 0.4}, "turn": {"headYaw": 0.35, "jawOpen": 0.2},
}  # fmt: skip


def still(who: str = "ada", size: int = 256) -> dict[str, float]:
    """PSNR in display colours of the imported head, at rest and over POSES, against the true one; and of not moving."""
    import tempfile

    from loquent.core.adapt import import_head
    from loquent.core.adapt.import_head import ImportOptions
    from loquent.core.geometry.cameras import look_at
    from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
    from loquent.core.splats.moved import moved
    from loquent.core.splats.ply import write_ply
    from loquent.core.splats.rasterize import rasterize

    true = performer(load_avatar(builtin_avatars()[who]))
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]) @ axis_angle_to_matrix(np.array([0.1, 0.15, -0.05]))
    scale, shift = 3.7, np.array([1.0, -2.0, 0.5])
    import_head.INSIDE_FROM = "bruno" if who == "ada" else "ada"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.ply"
        write_ply(moved(pose(true, np.zeros(len(CHANNELS), np.float32)), scale, turn, shift), path)
        started = time.perf_counter()
        gaussians, found = import_head._still(path, true.identity.head, ImportOptions(), lambda *told: None)
        made = import_head.adopt(gaussians, found, load_avatar(builtin_avatars()[import_head.INSIDE_FROM]), "still", {})
        seconds = time.perf_counter() - started
    ours = performer(made.avatar)
    camera = look_at((0.0, 0.02, 0.75), (0.0, 0.02, 0.03), width=size, height=size)
    back = found.similarity

    def picture(gaussians) -> np.ndarray:
        return display(rasterize(gaussians, camera, background=(0.2, 0.2, 0.2)).colour)

    # into the true head's own space: the imported one was brought to head space by what was found, not by the truth
    fix = turn.T @ back.rotation
    place = ((back.of(np.zeros(3)) - shift) @ turn) / scale

    def seen(values: np.ndarray) -> np.ndarray:
        return picture(moved(pose(ours, values), back.scale / scale, fix, place))

    zero = np.zeros(len(CHANNELS), np.float32)
    rest = picture(pose(true, zero))
    rows = []
    for channels in POSES.values():
        values = posed(channels)
        wanted = picture(pose(true, values))
        rows.append((psnr(seen(values), wanted), psnr(rest, wanted)))
    table = np.array(rows)
    truth = scale * true.identity.template.astype(np.float64) @ turn.T + shift
    face = _face(true.identity.head)
    return {
        "seconds": seconds, "rest_db": psnr(seen(zero), rest), "posed_db": float(table[:, 0].mean()),
        "not_moved_db": float(table[:, 1].mean()), "better": int((table[:, 0] > table[:, 1]).sum()), "poses": len(rows),
        "vertex_mm": _millimetres((found.vertices - truth) / scale, face),
        **{f"{name}_db": float(a) for name, a in zip(POSES, table[:, 0], strict=True)},
        **{f"{name}_not_moved_db": float(b) for name, b in zip(POSES, table[:, 1], strict=True)},
    }  # fmt: skip


def lam(path: Path, size: int = 256) -> dict[str, float]:
    """PSNR in display colours of a LAM head on the built-in one, at rest and over POSES, against it on its own morph targets."""
    from loquent.core.adapt.import_head import ImportOptions, import_head
    from loquent.core.geometry.cameras import look_at
    from loquent.core.splats.avatar import performer, pose
    from loquent.core.splats.colour import linear_layers
    from loquent.core.splats.lam import load_lam
    from loquent.core.splats.moved import moved
    from loquent.core.splats.rasterize import Layers, rasterize

    true = load_lam(path, linear=False)
    started = time.perf_counter()
    made = import_head(path, ImportOptions())
    seconds = time.perf_counter() - started
    ours = performer(made.avatar)
    zero = np.zeros(len(CHANNELS), np.float32)
    camera = look_at((0, 0.02, 0.75), (0, 0.02, 0.03), width=size, height=size)
    place = register(made.head, true.vertices, true.faces).similarity

    def picture(layers: Layers) -> np.ndarray:
        return display(layers.colour + 0.2 * (1 - layers.alpha[..., None]))

    def hers(values: np.ndarray) -> np.ndarray:
        return picture(linear_layers(rasterize(true.pose(values), camera)))

    def seen(values: np.ndarray) -> np.ndarray:
        return picture(rasterize(moved(pose(ours, values), place.scale, place.rotation, place.shift), camera))

    rest = hers(zero)
    table = np.array([(psnr(seen(v), hers(v)), psnr(rest, hers(v))) for v in map(posed, POSES.values())])
    return {
        "seconds": seconds, "rest_db": psnr(seen(zero), rest), "posed_db": float(table[:, 0].mean()),
        "not_moved_db": float(table[:, 1].mean()),
        **{f"{name}_db": float(a) for name, a in zip(POSES, table[:, 0], strict=True)},
        **{f"{name}_not_moved_db": float(b) for name, b in zip(POSES, table[:, 1], strict=True)},
    }  # fmt: skip


def plain(path: Path, size: int = 256) -> dict[str, float]:
    """PSNR in display colours of a LAM head at rest, written as a plain .ply and imported as a still head: at rest against what
    was given, from the front, at 45 degrees to the sides and close to the mouth; posed against the head on its own morph targets.
    """
    import tempfile

    from loquent.core.adapt import import_head
    from loquent.core.adapt.import_head import ImportOptions
    from loquent.core.geometry.cameras import look_at
    from loquent.core.splats.adopt import adopt, in_head_space
    from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
    from loquent.core.splats.lam import load_lam
    from loquent.core.splats.ply import write_ply
    from loquent.core.splats.rasterize import rasterize

    true, head = load_lam(path), load_head()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.ply"
        write_ply(true.rest, scan)
        started = time.perf_counter()
        gaussians, found = import_head._still(scan, head, ImportOptions(), lambda *told: None)
        interior = load_avatar(builtin_avatars()[import_head.INSIDE_FROM])
        ours = performer(adopt(gaussians, found, interior, "scan", {}).avatar)
        seconds = time.perf_counter() - started
    mouth = [found.similarity.back(found.vertices)[head.landmarks[f"mouth_{side}"]] for side in ("left", "right")]

    def seen_from(yaw: float, close: bool):
        at = (mouth[0] + mouth[1]) / 2 if close else np.array([0, 0.02, 0])
        way = np.array([np.sin(np.radians(yaw)), 0, np.cos(np.radians(yaw))])
        return look_at(at + 0.8 * way, at, fov_y=np.radians(8 if close else 22), width=size, height=size)

    def compared(values: np.ndarray, yaw: float = 0, close: bool = False) -> float:
        camera = seen_from(yaw, close)
        pictures = [
            display(rasterize(g, camera, background=(0.2, 0.2, 0.2)).colour)
            for g in (in_head_space(true.pose(values), found), pose(ours, values))
        ]
        return psnr(*pictures)

    zero = np.zeros(len(CHANNELS), np.float32)
    sides = [(compared(zero, yaw), compared(zero, yaw, True)) for yaw in (45, -45)]
    return {
        "seconds": seconds, "rest_db": compared(zero), "rest_mouth_db": compared(zero, close=True),
        "rest_45_db": min(side[0] for side in sides), "rest_45_mouth_db": min(side[1] for side in sides),
        **{f"{name}_db": compared(posed(POSES[name])) for name in ("jaw", "o", "pucker", "smile")},
        **{f"{name}_mouth_db": compared(posed(POSES[name]), close=True) for name in ("jaw", "o")},
    }  # fmt: skip


def display(linear: np.ndarray) -> np.ndarray:
    """sRGB of scene-linear light, clipped."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(((a - b) ** 2).mean()))


def posed(channels: Mapping[str, float]) -> np.ndarray:
    values = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        values[INDEX[name]] = value
    return values


def _face(head: Head) -> np.ndarray:
    skin = np.unique(outer_skin(head))
    t = head.template
    return skin[
        (t[skin, 2] > t[head.landmarks["eye_left_outer"], 2] - 0.03) & (t[skin, 1] > t[head.landmarks["chin"], 1])
    ]


def _millimetres(difference: np.ndarray, rows: np.ndarray) -> float:
    return 1e3 * float(np.linalg.norm(difference[rows], axis=1).mean())


def measure() -> dict[str, float]:
    """All figures that can be measured here, by flat names."""
    head = load_head()
    embedding = load_embedding(head)
    parts: Mapping[str, dict[str, float]] = {"registration_twin": twin(head, embedding)}
    if (DATA / "flame").is_dir():
        parts |= {"registration_flame": flame(head, embedding)}
    if (DATA / "ict").is_dir():
        parts |= {"registration_ict": ict(head)}
    for path in sorted((DATA / "lam_heads").glob("*.zip")):
        parts |= {path.stem.replace("-", "_"): lam(path)}
    try:
        parts |= {"still_import": still()}
        for path in sorted((DATA / "lam_heads").glob("*.zip")):
            parts |= {"still_" + path.stem.replace("-", "_"): plain(path)}
    except CaptureError as error:
        print(f"not measured: a still head ({error})")
    return {f"{part}_{name}": value for part, figures in parts.items() for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    found = measure()
    for name, value in found.items():
        print(f"{name:42} {value:10.3f}")
    for folder in ("flame", "ict", "lam_heads"):
        if not (DATA / folder).is_dir():
            print(f"not measured: {folder} (there is no {DATA / folder})")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
