# SPDX-License-Identifier: GPL-3.0-or-later
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.errors import FormatError, MotionError
from loquent.core.geometry.cameras import look_at
from loquent.core.head.motion import CHANNELS, INDEX, LOOK_RADIANS
from loquent.core.splats import glb as glb_module
from loquent.core.splats import lam as module
from loquent.core.splats.gaussians import SH_C0
from loquent.core.splats.glb import read_glb
from loquent.core.splats.lam import load_lam
from loquent.core.splats.rasterize import rasterize

VERTICES = np.array(
    [[0, 1.7, 0.1], [0.05, 1.7, 0], [-0.05, 1.7, 0], [0, 1.55, 0], [0.1, 1.5, 0], [-0.1, 1.5, 0]], np.float32
)
FACES = np.array([[0, 1, 2], [3, 4, 5]], np.uint16)
JOINTS = {"chestUpper": (0, 1.4, 0), "neckLower": (0, 1.54, -0.04), "head": (0, 1.62, -0.02)}
REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "lam_heads"


def target(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, VERTICES.shape).astype(np.float32)


TARGETS = {name: target(i) for i, name in enumerate(
    ("jawOpen", "mouthSmileLeft", "eyeLookOutLeft", "eyeLookInRight", "eyeLookDownLeft", "eyeLookDownRight"))}  # fmt: skip
TARGETS["jawOpen"][[0, 1, 4]] = 0


def tiny_glb(change=None) -> bytes:
    """A head of six vertices as Blender exports it: jawOpen sparse without a base, the other targets dense."""
    blob, views, accessors = b"", [], []

    def view(array: np.ndarray) -> int:
        nonlocal blob
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": array.nbytes})
        blob += array.tobytes() + bytes(-array.nbytes % 4)
        return len(views) - 1

    def accessor(array: np.ndarray, kind: str, component: int = 5126) -> int:
        accessors.append({"bufferView": view(array), "componentType": component, "count": len(array), "type": kind})
        return len(accessors) - 1

    count = len(VERTICES)
    where = np.flatnonzero(TARGETS["jawOpen"].any(1)).astype(np.uint16)
    sparse = {
        "count": len(where), "indices": {"bufferView": view(where), "componentType": 5123},
        "values": {"bufferView": view(TARGETS["jawOpen"][where])},
    }  # fmt: skip
    accessors.append({"componentType": 5126, "count": count, "type": "VEC3", "sparse": sparse})
    targets = [{"POSITION": 0}] + [{"POSITION": accessor(d, "VEC3")} for n, d in TARGETS.items() if n != "jawOpen"]
    inverse = np.stack([np.eye(4, dtype=np.float32)] * 3)
    inverse[:, 3, :3] = -np.array(list(JOINTS.values()))  # column-major
    joints = np.zeros((count, 4), np.uint8)
    joints[:3, 0], joints[3, :2] = 2, (2, 1)
    weights = np.zeros((count, 4), np.float32)
    weights[:, 0] = 1
    weights[3, :2] = 0.5
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"name": n} for n in JOINTS] + [{"mesh": 0, "skin": 0}],
        "skins": [{"joints": [0, 1, 2], "inverseBindMatrices": accessor(inverse, "MAT4")}],
        "meshes": [{
            "extras": {"targetNames": list(TARGETS)},
            "primitives": [{
                "attributes": {"POSITION": accessor(VERTICES, "VEC3"), "JOINTS_0": accessor(joints, "VEC4", 5121),
                               "WEIGHTS_0": accessor(weights, "VEC4")},
                "indices": accessor(FACES.reshape(-1), "SCALAR", 5123), "targets": targets,
            }],
        }],
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(blob)}],
    }  # fmt: skip
    if change:
        change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    total = 28 + len(text) + len(blob)
    return (
        struct.pack("<4sIIII", b"glTF", 2, total, len(text), 0x4E4F534A)
        + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    )  # fmt: skip


def tiny_ply(count: int = len(VERTICES), seed: int = 0) -> tuple[bytes, np.ndarray]:
    values = np.random.default_rng(seed).uniform(0.1, 0.9, (count, 14)).astype("<f4")
    values[:, 7:10] -= 5
    head = "".join(f"property float {name}\n" for name in module.COLUMNS)
    return (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{head}end_header\n".encode() + values.tobytes(),
        values,
    )


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def whole() -> dict[str, bytes]:
    return {"james/skin.glb": tiny_glb(), "james/offset.ply": tiny_ply()[0], "__MACOSX/james/._skin.glb": b"junk"}


@pytest.fixture
def head(tmp_path):
    return load_lam(zipped(tmp_path / "james.zip", whole()))


def motion(**channels: float) -> np.ndarray:
    values = np.zeros(len(CHANNELS), np.float32)
    for name, value in channels.items():
        values[INDEX[name]] = value
    return values


# ---- laws


def test_a_head_rests_on_its_vertices_in_head_space(head):
    values, origin = tiny_ply()[1], np.float32(JOINTS["head"])
    g = head.pose(motion())
    assert (head.name, len(head)) == ("james", 6)
    assert np.array_equal(head.faces, FACES)
    assert np.allclose(g.means, VERTICES - origin + values[:, :3], atol=1e-6)
    assert np.allclose(g.opacities, 1 / (1 + np.exp(-values[:, 6])), atol=1e-6)
    assert np.allclose(g.scales, np.exp(values[:, 7:10]), rtol=1e-6)
    assert np.array_equal(g.quats_wxyz, values[:, 10:14])
    assert all(a.dtype == np.float32 for a in (g.means, g.quats_wxyz, g.scales, g.opacities, g.harmonics))


def test_its_colours_are_plain_rgb_and_not_harmonics(tmp_path):
    path = zipped(tmp_path / "a.zip", whole())
    rgb = tiny_ply()[1][:, 3:6]
    assert np.allclose(load_lam(path, linear=False).rest.harmonics[:, 0] * SH_C0 + 0.5, rgb, atol=1e-6)
    light = ((rgb + 0.055) / 1.055) ** 2.4
    assert np.allclose(load_lam(path).rest.harmonics[:, 0] * SH_C0 + 0.5, light, atol=1e-6)


def test_morph_targets_add_up_and_sparse_equals_dense(head):
    rest = head.pose(motion()).means
    for name in ("jawOpen", "mouthSmileLeft"):
        assert np.allclose(head.pose(motion(**{name: 1})).means - rest, TARGETS[name], atol=1e-6), name
    both = head.pose(motion(jawOpen=0.5, mouthSmileLeft=0.25)).means - rest
    assert np.allclose(both, 0.5 * TARGETS["jawOpen"] + 0.25 * TARGETS["mouthSmileLeft"], atol=1e-6)


def test_looking_left_turns_the_left_eye_out_and_the_right_eye_in(head):
    rest = head.pose(motion()).means
    yaw = 0.5 * LOOK_RADIANS["Out"]
    expected = 0.5 * TARGETS["eyeLookOutLeft"] + yaw / LOOK_RADIANS["In"] * TARGETS["eyeLookInRight"]
    assert np.allclose(head.pose(motion(gazeYaw=yaw)).means - rest, expected, atol=1e-6)
    down = head.pose(motion(gazePitch=LOOK_RADIANS["Down"], eyeLookDownLeft=1)).means - rest
    assert np.allclose(down, TARGETS["eyeLookDownLeft"] + TARGETS["eyeLookDownRight"], atol=1e-6)  # never beyond 1


def test_turning_the_head_takes_the_skull_and_leaves_the_chest(head):
    rest, turned = head.pose(motion()), head.pose(motion(headYaw=np.pi / 2))
    assert np.allclose(turned.means[4:], rest.means[4:])
    x, y, z = rest.means[:3].T
    assert np.allclose(turned.means[:3], np.stack([z, y, -x], 1), atol=1e-6)  # forward becomes the subject's left
    assert np.allclose(head.turning, [1, 1, 1, 0.5, 0, 0])
    assert not np.allclose(turned.quats_wxyz[:4], rest.quats_wxyz[:4], atol=0.1)


def test_turning_the_neck_moves_all_rigidly_about_its_joint(head):
    values = motion(neckPitch=0.4, neckYaw=0.3, neckRoll=-0.2)
    rest, turned = head.pose(motion(jawOpen=1)), head.pose(values + motion(jawOpen=1))
    pivot = np.float32(JOINTS["neckLower"]) - np.float32(JOINTS["head"])
    for a, b in ((rest.means[:, None], rest.means), (rest.means, pivot)):
        other = turned.means[:, None] - turned.means if a.ndim == 3 else turned.means - pivot
        assert np.allclose(np.linalg.norm(a - b, axis=-1), np.linalg.norm(other, axis=-1), atol=1e-6)
    assert not np.allclose(rest.means, turned.means, atol=1e-2)


def test_moving_the_head_moves_all(head):
    moved = head.pose(motion(headX=0.1, headY=0.2, headZ=-0.3)).means - head.pose(motion()).means
    assert np.allclose(moved, [0.1, 0.2, -0.3], atol=1e-6)


def test_a_folder_and_a_folder_within_it_read_as_the_zip_does(tmp_path, head):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / "skin.glb").write_bytes(tiny_glb())
    (tmp_path / "outer" / "inner" / "offset.ply").write_bytes(tiny_ply()[0])
    for folder in (tmp_path / "outer", tmp_path / "outer" / "inner"):
        assert np.array_equal(load_lam(folder).rest.means, head.rest.means)


def test_a_head_without_a_skin_turns_as_a_whole(tmp_path):
    members = whole() | {"james/skin.glb": tiny_glb(lambda d: d["nodes"][3].pop("skin"))}
    assert load_lam(zipped(tmp_path / "a.zip", members)).turning.tolist() == [1] * 6


@pytest.mark.parametrize("values", [np.zeros(52), np.full(65, np.nan), np.zeros((2, 65))])
def test_values_of_the_wrong_shape_are_refused(head, values):
    with pytest.raises(MotionError, match="expected 65 finite motion values"):
        head.pose(values)


# ---- hostile files


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"james/skin.glb": None}, r"expected a zip with skin.glb and offset.ply \(a LAM head\), found __MACOSX"),
        ({"james/offset.ply": None}, "expected a zip with skin.glb and offset.ply"),
        ({"../../offset.ply": b"x"}, r"names a file outside of itself, '\.\./\.\./offset.ply'"),
        ({"/etc/passwd": b"x"}, "names a file outside of itself"),
        ({"..\\skin.glb": b"x"}, "names a file outside of itself"),
        ({"C:\\skin.glb": b"x"}, "names a file outside of itself"),
        ({"other/skin.glb": b"x"}, "expected one head, found 2 files 'skin.glb'"),
        ({"james/offset.ply": tiny_ply(5)[0]}, "of 6 Gaussians, one for each vertex of skin.glb; found 5 Gaussians"),
        ({"james/offset.ply": tiny_ply()[0].replace(b"rot_3", b"rot_4")}, "found no rot_3"),
        ({"james/offset.ply": tiny_ply()[0][:-1]}, "offset.ply': its header promises 6 Gaussians.*cut short"),
        ({"james/offset.ply": tiny_ply()[0][:-4] + struct.pack("<f", 3e38)}, "found a scale of .* numbers up to 3e.38"),
        ({"james/skin.glb": b"PK" * 20}, "skin.glb': expected a binary glTF file"),
    ],
)
def test_a_wrong_zip_gets_one_clear_answer(tmp_path, members, message):
    content = {name: data for name, data in (whole() | members).items() if data is not None}
    with pytest.raises(FormatError, match=message):
        load_lam(zipped(tmp_path / "a.zip", content))


def test_a_zip_bomb_is_refused_before_it_unfolds(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    path = zipped(tmp_path / "a.zip", whole() | {"james/skin.glb": bytes(1 << 21)})
    with pytest.raises(FormatError, match=r"skin\.glb has more than 1,048,576 bytes"):
        load_lam(path)
    lying = path.read_bytes().replace(struct.pack("<I", 1 << 21), struct.pack("<I", 100))
    path.write_bytes(lying)
    with pytest.raises(FormatError, match="cannot be read as a LAM head"):
        load_lam(path)


def test_a_zip_of_very_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_MEMBERS", 50)
    path = zipped(tmp_path / "a.zip", whole() | {f"{i}.txt": b"" for i in range(60)})
    with pytest.raises(FormatError, match="expected a zip of a few files, found over 50"):
        load_lam(path)


def test_what_is_no_zip_or_is_damaged_says_so(tmp_path):
    path = tmp_path / "a.zip"
    with pytest.raises(FormatError, match=r"a folder or \.zip with skin\.glb and offset\.ply, found nothing"):
        load_lam(path)
    path.write_bytes(b"no zip at all")
    with pytest.raises(FormatError, match="cannot be read as a LAM head"):
        load_lam(path)
    content = bytearray(zipped(path, whole()).read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FormatError, match="cannot be read as a LAM head"):
        load_lam(path)
    with pytest.raises(FormatError, match=r"expected a folder with skin\.glb and offset\.ply"):
        load_lam(tmp_path)


def test_a_file_without_a_name_in_a_zip_is_passed_over(tmp_path):
    path = zipped(tmp_path / "a.zip", whole() | {"nameless": b""})
    path.write_bytes(path.read_bytes().replace(b"nameless", b"\0ameless"))  # a name ends at its first zero
    assert len(load_lam(path)) == 6


def test_a_locked_or_oddly_packed_zip_says_so(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in whole().items():
            archive.writestr(name, content)
    with pytest.raises(FormatError, match=r"skin\.glb is locked or packed unusually"):
        load_lam(path)


# ---- the glTF reader


def change(*keys, to):
    """A function that sets document[keys[0]]...[keys[-1]]."""

    def apply(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return apply


PRIMITIVE = ("meshes", 0, "primitives", 0)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (change("meshes", to=[]), "expected a mesh with morph targets"),
        (change(*PRIMITIVE, "targets", to=[]), "expected a mesh with morph targets"),
        (change("meshes", 0, "extras", to={}), "expected a name for each of 6 morph targets, found 0"),
        (change("meshes", 0, "extras", "targetNames", to=["a"] * 6), "6 morph targets, found 1"),
        (change("accessors", 0, "count", to=10**15), "accessor 0 is 1000000000000000 x VEC3, expected 6 x 3"),
        (change("accessors", 1, "count", to=-6), "expected an index or count, found -6"),
        (change("accessors", 1, "byteOffset", to=4), "too short for 6 elements"),
        (change("accessors", 1, "type", to="VEC9"), "KeyError"),
        (change("accessors", 0, "sparse", "count", to=10**12), "too short for 1,000,000,000,000 elements"),
        (change("bufferViews", 2, "byteOffset", to=10**9), "too short"),
        (change("bufferViews", 2, "byteStride", to=0), "too short"),
        (change("buffers", 0, "uri", to="file:///etc/passwd"), "its data lie in another file"),
        (change(*PRIMITIVE, "mode", to=1), "expected triangles between its 6 vertices"),
        (change(*PRIMITIVE, "attributes", to={}), "KeyError: 'POSITION'"),
        (change(*PRIMITIVE, "indices", to=99), "IndexError"),
        (change("skins", 0, "joints", to=[0]), "expected 1 x 16"),
        (change("nodes", to="none"), "AttributeError|TypeError"),
    ],
)
def test_a_mesh_that_breaks_the_standard_gets_one_clear_answer(apply, message):
    with pytest.raises(FormatError, match=message):
        read_glb(tiny_glb(apply), "skin.glb")


def test_a_view_that_claims_more_than_its_elements_need_changes_nothing():
    mesh = read_glb(tiny_glb(change("bufferViews", 3, "byteLength", to=10**9)), "skin.glb")
    assert np.array_equal(mesh.targets["mouthSmileLeft"], TARGETS["mouthSmileLeft"])


def test_sparse_targets_cannot_fill_the_memory(monkeypatch):
    monkeypatch.setattr(glb_module, "MAX_MORPH_BYTES", 400)
    with pytest.raises(FormatError, match="6 morph targets of 6 vertices are too many"):
        read_glb(tiny_glb(), "skin.glb")


def test_a_sparse_target_outside_the_mesh_is_refused():
    data = tiny_glb()
    where = np.flatnonzero(TARGETS["jawOpen"].any(1)).astype(np.uint16)
    data = data.replace(where.tobytes(), np.array([2, 3, 60], np.uint16).tobytes(), 1)
    with pytest.raises(FormatError, match="accessor 0 changes element 60 of 6"):
        read_glb(data, "skin.glb")


def test_targets_without_arkit_names_cannot_be_driven(tmp_path):
    names = change("meshes", 0, "extras", "targetNames", to=list("abcdef"))
    with pytest.raises(
        FormatError, match=r"expected morph targets with ARKit names such as jawOpen.*found a, b, c, d, e"
    ):
        load_lam(zipped(tmp_path / "a.zip", whole() | {"james/skin.glb": tiny_glb(names)}))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_any_damaged_mesh_is_read_or_refused_but_never_breaks(seed):
    rng = np.random.default_rng(seed)
    data = bytearray(tiny_glb())
    for _ in range(rng.integers(1, 5)):
        data[rng.integers(len(data))] = rng.integers(256)
    if rng.random() < 0.3:
        data = data[: rng.integers(len(data))]
    try:
        read_glb(bytes(data), "skin.glb")
    except FormatError as error:
        assert "skin.glb" in str(error)


# ---- real heads


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real LAM heads are not here ({REAL}); they may not be shipped")
@pytest.mark.parametrize("name", ["openavatarchat_james", "lam_webrender_p2-1"])
def test_a_real_head_draws_a_face_that_moves_where_it_should(name):
    head = load_lam(REAL / f"{name}.zip")
    assert (len(head), len(head.channels)) == (20018, 51)
    camera = look_at((0, 0.05, 0.9), (0, 0.03, 0), fov_y=np.radians(24), width=128, height=128)
    rest, jaw, blink = (
        rasterize(head.pose(values), camera) for values in (
            motion(), motion(jawOpen=1), motion(eyeBlinkLeft=1, eyeBlinkRight=1))
    )  # fmt: skip
    assert 0.3 < rest.alpha.mean() < 0.75
    assert rest.alpha[50:70, 56:72].min() > 0.99  # a face without holes
    skin = rest.colour[60:64, 62:66].mean((0, 1))
    assert skin[0] > skin[2] * 0.9, skin  # warm, or a grey drawing; never blue

    def rows(layers):
        changed = np.abs(layers.colour - rest.colour).sum(2)
        return (changed.sum(1) * np.arange(128)).sum() / changed.sum()

    assert rows(blink) + 12 < rows(jaw)  # eyes are above the mouth
