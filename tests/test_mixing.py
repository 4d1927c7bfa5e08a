# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity: heads on other shapes and mixtures; pose, blink, gaze, identity and expression leave each other alone."""

from dataclasses import replace

import numpy as np
import pytest

from loquent.core.errors import FormatError
from loquent.core.geometry.cameras import Camera
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX
from loquent.core.head.sliders import LARGEST, SLIDERS, moved
from loquent.core.splats.avatar import find_avatar, load_avatar, performer, pose, save_avatar
from loquent.core.splats.colour_network import ColourNetwork
from loquent.core.splats.mixing import mix_files, mixed, reshaped, same_slots
from loquent.core.splats.rasterize import rasterize

HEAD = load_head()
REST = np.zeros(len(CHANNELS), np.float32)
MM = 1e-3


@pytest.fixture(scope="module")
def ada():
    return load_avatar(find_avatar("ada"))


@pytest.fixture(scope="module")
def bruno():
    return load_avatar(find_avatar("bruno"))


def picture(avatar, size=96):
    matrix = np.diag([1, -1, -1, 1]).astype(np.float32)
    matrix[2, 3] = 0.8
    K = np.array([[2.2 * size, 0, size / 2], [0, 2.2 * size, size / 2], [0, 0, 1]], np.float32)
    return rasterize(pose(performer(avatar), REST), Camera(matrix, K, size, size))


# ---- each control by itself, measured on the posed mesh


def lid_gap(vertices, values):
    """Heights of both eyes' openings, with the head's turn taken out."""
    upright = vertices @ head_turn(vertices, values)
    return np.array([lid.gaps(upright).max() for lid in HEAD.lids])


def turn_of(part, vertices, values):
    """(3, 3) by which a rigid part of this person's has turned."""
    where = HEAD.parts[part]
    rest = pose_vertices(identity(HEAD, values["betas"]), REST)[where]
    a, b = vertices[where] - vertices[where].mean(0), rest - rest.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt


def head_turn(vertices, values):
    """Of the skull: teeth of the upper jaw are bone, and no expression moves them."""
    return turn_of("teeth_upper", vertices, values)


def gaze(vertices, values):
    """(2, 3, 3) turns of the eyes within the skull."""
    turn = head_turn(vertices, values)
    return np.array([turn.T @ turn_of(f"eye_{side}", vertices, values) for side in ("left", "right")])


def lip_gap(vertices, values):
    at = vertices @ head_turn(vertices, values)
    return at[HEAD.landmarks["lip_upper_middle"], 1] - at[HEAD.landmarks["lip_lower_middle"], 1]


def shape(vertices, values):
    """The skull without place, turn and size: nothing but who it is."""
    bone = (HEAD.masks["scalp"] > 0.9) & (HEAD.weights[:, 1] > 0.999)
    skull = vertices[bone] @ head_turn(vertices, values)
    skull = skull - skull.mean(0)
    return skull / np.linalg.norm(skull)


MEASURES = {
    "pose": lambda v, c: head_turn(v, c),
    "blink": lid_gap,
    "gaze": gaze,
    "expression": lip_gap,
    "identity": shape,
}
TOLERANCE = {"pose": 1e-4, "blink": 0.2 * MM, "gaze": 1e-4, "expression": 0.05 * MM, "identity": 1e-5}
CONTROLS = {
    "pose": {"headYaw": 0.4, "headPitch": -0.2, "neckRoll": 0.1, "headX": 0.02},
    "blink": {"eyeBlinkLeft": 0.8, "eyeBlinkRight": 0.8},
    "gaze": {"gazeYaw": 0.3},
    "expression": {"jawOpen": 0.7, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "mouthFunnel": 0.3},
    "identity": {},
}
START = {"jawOpen": 0.2, "eyeBlinkLeft": 0.3, "eyeBlinkRight": 0.3, "gazeYaw": -0.1, "headYaw": 0.15}


def measured(channels, betas):
    values = REST.copy()
    for name, value in channels.items():
        values[INDEX[name]] = value
    vertices = pose_vertices(identity(HEAD, betas), values)
    return {name: measure(vertices, {"betas": betas}) for name, measure in MEASURES.items()}


@pytest.mark.parametrize("moves", CONTROLS)
def test_one_control_moves_and_the_others_stay(moves):
    betas = np.zeros(len(HEAD.shapedirs), np.float32)
    other = moved(betas, {"width": 2, "long_face": 1.5}, len(betas)) if moves == "identity" else betas
    before = measured(START, betas)
    after = measured({**START, **CONTROLS[moves]}, other)
    for name in MEASURES:
        apart = np.abs(after[name] - before[name]).max()
        if name == moves:
            assert apart > 20 * TOLERANCE[name], (name, apart)
        elif moves == "identity" and name in ("blink", "expression"):
            # Another face is another size: the opening stays the same part of what this person opens.
            full = [
                measured({**START, "eyeBlinkLeft": 0, "eyeBlinkRight": 0, "jawOpen": 1}, b)[name]
                for b in (betas, other)
            ]
            shut = [before[name], after[name]]
            shares = [np.mean(s) / np.mean(f) for s, f in zip(shut, full, strict=True)]
            assert abs(shares[0] - shares[1]) < 0.08, (name, shares)
        else:
            assert apart < TOLERANCE[name], (name, apart)


# ---- sliders


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_moves_its_component_and_nothing_else(name):
    slider = SLIDERS[name]
    betas = moved(np.ones(3, np.float32), {name: 2.0}, 100)
    expected = np.r_[np.ones(3), np.zeros(97)]
    expected[slider.component] += 2 * slider.sign
    np.testing.assert_array_equal(betas, expected.astype(np.float32))


def spans(amounts):
    head = identity(HEAD, moved(np.zeros(0, np.float32), amounts, 100)).template
    points = head[HEAD.parts["skin"]]
    return np.ptp(points[points[:, 1] > points[HEAD.landmarks["chin"], 1]], axis=0)


def test_sliders_do_what_their_names_say():
    plain = spans({})
    assert (spans({"size": 3}) > 1.02 * plain).all(), "larger every way"
    assert spans({"width": 3})[0] > 1.08 * plain[0] and spans({"width": -3})[0] < 0.93 * plain[0]
    assert spans({"long_face": 3})[1] > 1.05 * plain[1]
    assert spans({"tall_skull": 3})[1] > 1.05 * plain[1]
    assert spans({"deep_skull": 3})[2] > 1.03 * plain[2]
    compact = spans({"compact": 3})
    assert compact[0] / compact[1] > 1.1 * plain[0] / plain[1]


@pytest.mark.parametrize("name", SLIDERS)
def test_faces_at_the_ends_of_sliders_still_blink_and_close_their_mouths(name):
    for amount in (-LARGEST, LARGEST):
        person = identity(HEAD, moved(np.zeros(0, np.float32), {name: amount}, 100))
        values = REST.copy()
        values[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 1
        vertices = pose_vertices(person, values)
        assert np.isfinite(vertices).all()
        for lid in HEAD.lids:
            assert lid.gaps(vertices).max() < 1.0 * MM, (name, amount)


# ---- Gaussians follow


def test_gaussians_follow_the_other_shape(ada):
    wide = reshaped(ada, {"width": 3})
    here, there = (pose(performer(a), REST) for a in (ada, wide))
    meshes = [identity(HEAD, a.betas).template for a in (ada, wide)]
    corners = HEAD.faces[ada.binding.triangles]
    shift = [mesh[corners].mean(1) for mesh in meshes]
    followed = (there.means - here.means) - (shift[1] - shift[0])
    assert np.linalg.norm(shift[1] - shift[0], axis=1).max() > 5 * MM
    near = np.linalg.norm(here.means - meshes[0][corners].mean(1), axis=1) < 3 * MM  # hair turns with its triangle
    assert near.sum() > 10_000 and np.linalg.norm(followed[near], axis=1).max() < 3 * MM
    assert np.median(np.linalg.norm(followed[near], axis=1)) < 0.3 * MM
    assert wide.harmonics is ada.harmonics, "looks are shared, not copied"


def test_a_mixture_begins_as_one_head_and_ends_as_the_other(ada, bruno):
    assert mixed(ada, bruno, 0) is ada and mixed(ada, bruno, 1) is bruno
    assert mixed(ada, bruno, -1) is ada and mixed(ada, bruno, 2) is bruno
    first, last = picture(ada), picture(bruno)
    near, far = picture(mixed(ada, bruno, 0.01)), picture(mixed(ada, bruno, 0.99))
    assert np.abs(near.colour - first.colour).mean() < 0.01
    assert np.abs(far.colour - last.colour).mean() < 0.01


def test_heads_of_other_places_dissolve_without_holes_or_blotches(ada, bruno):
    assert not same_slots(ada, bruno)
    half = mixed(ada, bruno, 0.5)
    drawn, ends = picture(half), [picture(a) for a in (ada, bruno)]
    face = np.s_[42:58, 42:54]
    assert drawn.alpha[face].min() > 0.97
    low, high = (op([e.colour[face].mean((0, 1)) for e in ends], axis=0) for op in (np.min, np.max))
    mean = drawn.colour[face].mean((0, 1))
    assert (mean > low - 0.01).all() and (mean < high + 0.01).all()
    assert np.allclose(half.betas, (ada.betas + bruno.betas) / 2)


def test_heads_of_the_same_places_go_over_value_by_value(ada):
    rng = np.random.default_rng(2)
    other = replace(
        ada,
        binding=replace(ada.binding, offsets=ada.binding.offsets + 0.1, quats_wxyz=-ada.binding.quats_wxyz),
        harmonics=rng.normal(size=(len(ada), 1, 3)).astype(np.float32),
        betas=ada.betas[:7] + 1,
    )
    half = mixed(ada, other, 0.5)
    assert same_slots(ada, other) and len(half) == len(ada)
    np.testing.assert_allclose(half.binding.offsets, ada.binding.offsets + 0.05, atol=1e-5)
    np.testing.assert_allclose(
        half.binding.quats_wxyz, ada.binding.quats_wxyz, atol=1e-5
    )  # a quaternion and its negative are one turn
    np.testing.assert_allclose(half.harmonics[:, 0], (ada.harmonics[:, 0] + other.harmonics[:, 0]) / 2, atol=1e-5)
    np.testing.assert_allclose(half.harmonics[:, 1], ada.harmonics[:, 1] / 2, atol=1e-5)


def test_shape_alone_keeps_the_looks(ada, bruno):
    shaped = mixed(ada, bruno, 1, looks=False)
    assert shaped.harmonics is ada.harmonics and np.array_equal(shaped.betas, bruno.betas)


def test_a_mixture_carries_both_consents(ada, bruno, tmp_path):
    anna = replace(ada, name="Anna", about={"subject": "Anna Ek", "consent": "by mail", "synthetic": False})
    made = mixed(anna, bruno, 0.25)
    assert made.about["consent"] == "Anna: by mail; bruno: Not a real person."
    assert made.about["subject"].startswith("Anna: Anna Ek") and made.about["synthetic"] is False
    assert made.about["source"] == "mix of Anna (75%) and bruno (25%)"
    assert mixed(anna, bruno, 1, looks=False).about["consent"] == made.about["consent"], "a shape is somebody's, too"
    kept, told = mix_files("ada", "bruno", 0.5, tmp_path / "c.loq")
    back = load_avatar(tmp_path / "c.loq")
    assert back.about == kept.about and len(back) == len(kept)
    assert "not made on the same texels" in told
    performer(back)


def test_colours_of_the_performance_go_with_the_nearer_head(ada, bruno):
    rng = np.random.default_rng(3)
    rows = np.sort(rng.choice(len(bruno), 500, replace=False)).astype(np.int32)
    network = ColourNetwork(
        np.full(65, -1, np.float32), np.ones(65, np.float32), (rng.normal(size=(65, 2)).astype(np.float32),),
        (np.zeros(2, np.float32),), rows, rng.normal(size=(2, 500, 3)).astype(np.float32),
    )  # fmt: skip
    lively = replace(bruno, colour=network)
    assert mixed(ada, lively, 0.3).colour is None
    made = mixed(ada, lively, 0.9)
    assert made.colour is not None and made.colour.rows.max() < len(made)
    # The last Gaussians of the mixture are bruno's; the one that changes first is the one that did.
    np.testing.assert_array_equal(
        made.binding.triangles[made.colour.rows], bruno.binding.triangles[rows][: len(made.colour.rows)]
    )
    np.testing.assert_allclose(made.colour.basis, 0.8 * network.basis[:, : len(made.colour.rows)], atol=1e-6)
    assert np.abs(mixed(ada, lively, 0.5).colour.basis).max() == 0


def test_what_cannot_be_mixed_is_refused(ada, bruno, tmp_path):
    with pytest.raises(FormatError, match="no mesh in common"):
        mixed(ada, replace(bruno, head_id="other"), 0.5)
    with pytest.raises(FormatError, match="expected 0"):
        mix_files("ada", "bruno", 1.5, tmp_path / "c.loq")
    with pytest.raises(FormatError, match=r"ends in \.loq"):
        mix_files("ada", "bruno", 0.5, tmp_path / "c.ply")
    with pytest.raises(FormatError, match=r"as LAM's heads are.*Import it first"):
        mix_files("ada", "james.zip", 0.5, tmp_path / "c.loq")
    assert not list(tmp_path.iterdir())
    save_avatar(replace(bruno, head_id="flame"), tmp_path / "flame.loq")
    with pytest.raises(FormatError, match="stands on the mesh 'flame'; only heads on the built-in one"):
        mix_files("ada", tmp_path / "flame.loq", 0.5, tmp_path / "c.loq")
