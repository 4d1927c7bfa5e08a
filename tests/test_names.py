# SPDX-License-Identifier: GPL-3.0-or-later
import re

import pytest

from loquent.core.head.motion import ARKIT
from loquent.core.head.names import canonical, recipes

SPELLINGS = {
    "ARKit, MPFB2, Ready Player Me": lambda n: n,
    "VRM Perfect Sync": lambda n: n[0].upper() + n[1:],
    "side as suffix": lambda n: re.sub("Right$", "_R", re.sub("Left$", "_L", n)),
    "Blender's sides": lambda n: re.sub("Right$", ".R", re.sub("Left$", ".L", n)),
    "snake": lambda n: re.sub("([A-Z])", r"_\1", n).lower(),
    "glTF with the mesh's name": lambda n: "Face_Blendshape." + n,
    "duplicated in Blender": lambda n: n + ".001",
    "spaces": lambda n: re.sub("([A-Z])", r" \1", n).title(),
    "MetaHuman's prefix": lambda n: "head_lod0_mesh__" + re.sub("([A-Z])", r"_\1", n),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_arkit_shape_is_found_in_every_spelling(spelling):
    names = [SPELLINGS[spelling](name) for name in ARKIT]
    assert recipes(["Basis", *names]) == {name: ((channel, 1.0),) for name, channel in zip(names, ARKIT, strict=True)}


@pytest.mark.parametrize(
    ("shape", "recipe"),
    [
        ("CTRL_expressions_mouthCornerPullL", (("mouthSmileLeft", 1.0),)),
        ("head_lod0_mesh__mouth_cornerPull_left", (("mouthSmileLeft", 1.0),)),
        ("head_lod0_mesh__eye_lookLeft_R", (("eyeLookInRight", 1.0),)),
        ("CTRL_expressions_eyeLookLeftL", (("eyeLookOutLeft", 1.0),)),
        ("CTRL_expressions_mouthFunnelDR", (("mouthFunnel", 1.0),)),
        ("CTRL_expressions_jawFwd", (("jawForward", 1.0),)),
        ("BrowsU_C", (("browInnerUp", 1.0),)),
        ("LipsUpperUp_R", (("mouthUpperUpRight", 1.0),)),
        ("Eye_L_Look_R", (("eyeLookInLeft", 1.0),)),
        ("Brow_Raise_Inner_L", (("browInnerUp", 1.0),)),
        ("Fcl_MTH_U", (("mouthPucker", 1.0),)),
        ("viseme_O", (("mouthFunnel", 1.2),)),
        ("Blink_L", (("eyeBlinkLeft", 1.0),)),
    ],
)
def test_other_programs_names_are_known(shape, recipe):
    assert recipes([shape]) == {shape: recipe}


def test_vowels_are_left_alone_where_arkit_shapes_are_and_strangers_always():
    full = recipes([*ARKIT, "viseme_aa", "mouthOpen", "A", "Fat", "Basis"])
    assert list(full) == list(ARKIT)
    assert set(recipes(["A", "I", "U", "E", "O", "Blink", "Fat", "Key 1"])) == {"A", "I", "U", "E", "O", "Blink"}


def test_of_two_spellings_of_one_shape_only_arkits_moves():
    assert list(recipes(["mouthSmileLeft", "mouth_cornerPull_left"])) == ["mouthSmileLeft"]


def test_channels_are_arkits():
    from loquent.core.head import names

    for recipe in [*names._FINE.values(), *names._ROUGH.values()]:
        assert all(channel in ARKIT for channel, _ in recipe), recipe
    assert canonical("") == ""
