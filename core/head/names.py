# SPDX-License-Identifier: GPL-3.0-or-later
"""What other programs call the ARKit shapes: a shape key's name in, the channels that move it out.

Names are compared without prefixes, capitals and separators, sides as words: `Head_lod0_mesh__eye_blink_L`, `EyeBlink.L`
and `eyeBlinkLeft` are one. Known besides ARKit's own spelling (also MPFB2's face units, VRM's Perfect Sync, Ready Player
Me): MetaHuman's controls and morphs, Faceshift, Character Creator, VRM's and VRoid's vowels, Oculus visemes. A character
with a shape for half of ours, or for two at once, is followed by factors; vowels and visemes are approximations.
"""

import re
from collections.abc import Iterable

from .motion import ARKIT

Recipe = tuple[tuple[str, float], ...]
"""Channels and factors whose sum moves a shape key."""

_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}
_NOISE = {"ctrl", "expressions", "arkit", "blendshape", "blendshapes", "blendshape1", "bs", "faceunits", "morph", "perfectsync"}  # fmt: skip


def canonical(name: str) -> str:
    """`Head_lod0_mesh__eye_blink_L` -> `eyeblinkleft`."""
    name = re.split(r"__|[|/:]", name)[-1]
    if "." in name and not re.fullmatch(r".*\.(l|r|left|right|\d+)", name, re.IGNORECASE):
        name = name.rsplit(".", 1)[-1]
    name = re.sub(r"\.\d+$", "", name)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+", name.replace("_", " ").replace(".", " "))
    words = [word.lower() for word in words]
    while len(words) > 1 and words[0] in _NOISE:
        words = words[1:]
    if words and words[-1] in _SIDES:
        words[-1] = _SIDES[words[-1]]
    return "".join(words)


def _both(shape: str, channel: str, factor: float = 1.0) -> dict[str, Recipe]:
    """One row for each side: {} is replaced by the side in both names."""
    return {
        canonical(shape.replace("{}", side[0])): ((channel.replace("{}", side), factor),) for side in ("Left", "Right")
    }


def _one(shape: str, *recipe: tuple[str, float]) -> dict[str, Recipe]:
    return {canonical(shape): recipe}


def _sides(channel: str, factor: float) -> Recipe:
    return ((channel + "Left", factor), (channel + "Right", factor))


_METAHUMAN: dict[str, Recipe] = {
    **_both("eye_lookDown_{}", "eyeLookDown{}"),
    **_both("eye_lookUp_{}", "eyeLookUp{}"),
    **_one("eye_lookLeft_L", ("eyeLookOutLeft", 1.0)),
    **_one("eye_lookLeft_R", ("eyeLookInRight", 1.0)),
    **_one("eye_lookRight_L", ("eyeLookInLeft", 1.0)),
    **_one("eye_lookRight_R", ("eyeLookOutRight", 1.0)),
    **_both("eye_squintInner_{}", "eyeSquint{}"),
    **_both("eye_widen_{}", "eyeWide{}"),
    **_both("eye_cheekRaise_{}", "cheekSquint{}"),
    **_both("brow_raiseIn_{}", "browInnerUp"),
    **_both("brow_raiseOuter_{}", "browOuterUp{}"),
    **_both("nose_wrinkle_{}", "noseSneer{}"),
    **_both("mouth_cornerPull_{}", "mouthSmile{}"),
    **_both("mouth_cornerDepress_{}", "mouthFrown{}"),
    **_both("mouth_lowerLipRollIn_{}", "mouthRollLower"),
    **_both("mouth_upperLipRollIn_{}", "mouthRollUpper"),
    **_both("mouth_lipsPress_{}", "mouthPress{}"),
    **_both("mouth_lowerLipDepress_{}", "mouthLowerDown{}"),
    **_both("mouth_upperLipRaise_{}", "mouthUpperUp{}"),
    **_both("mouth_cheekBlow_{}", "cheekPuff"),
    **{
        canonical(f"{shape}_{corner}"): ((channel, 1.0),)
        for shape, channel in (
            ("mouth_funnel", "mouthFunnel"), ("mouth_lipsPurse", "mouthPucker"), ("mouth_lipsTogether", "mouthClose"),
        )
        for corner in ("UL", "UR", "DL", "DR")
    },
    **_one("jaw_fwd", ("jawForward", 1.0)),
    **_both("jaw_chinRaiseD{}", "mouthShrugLower"),
    **_both("jaw_chinRaiseU{}", "mouthShrugUpper"),
}  # fmt: skip

_FACESHIFT: dict[str, Recipe] = {
    **_both("EyeDown_{}", "eyeLookDown{}"), **_both("EyeUp_{}", "eyeLookUp{}"),
    **_both("EyeIn_{}", "eyeLookIn{}"), **_both("EyeOut_{}", "eyeLookOut{}"), **_both("EyeOpen_{}", "eyeWide{}"),
    **_both("BrowsD_{}", "browDown{}"), **_one("BrowsU_C", ("browInnerUp", 1.0)), **_both("BrowsU_{}", "browOuterUp{}"),
    **_one("LipsFunnel", ("mouthFunnel", 1.0)), **_one("LipsPucker", ("mouthPucker", 1.0)),
    **_one("LipsTogether", ("mouthClose", 1.0)), **_one("LipsUpperClose", ("mouthRollUpper", 1.0)),
    **_one("LipsLowerClose", ("mouthRollLower", 1.0)), **_both("LipsStretch_{}", "mouthStretch{}"),
    **_both("LipsUpperUp_{}", "mouthUpperUp{}"), **_both("LipsLowerDown_{}", "mouthLowerDown{}"),
    **_one("ChinLowerRaise", ("mouthShrugLower", 1.0)), **_one("ChinUpperRaise", ("mouthShrugUpper", 1.0)),
    **_one("Puff", ("cheekPuff", 1.0)), **_both("Sneer_{}", "noseSneer{}"),
}  # fmt: skip

_CHARACTER_CREATOR: dict[str, Recipe] = {
    **_one("Eye_L_Look_L", ("eyeLookOutLeft", 1.0)), **_one("Eye_L_Look_R", ("eyeLookInLeft", 1.0)),
    **_one("Eye_R_Look_L", ("eyeLookInRight", 1.0)), **_one("Eye_R_Look_R", ("eyeLookOutRight", 1.0)),
    **_both("Eye_{}_Look_Up", "eyeLookUp{}"), **_both("Eye_{}_Look_Down", "eyeLookDown{}"),
    **_both("Brow_Drop_{}", "browDown{}"), **_both("Brow_Raise_Inner_{}", "browInnerUp"),
    **_both("Brow_Raise_Outer_{}", "browOuterUp{}"), **_both("Cheek_Puff_{}", "cheekPuff"),
    **_both("Cheek_Raise_{}", "cheekSquint{}"), **_one("Mouth_Roll_In_Upper", ("mouthRollUpper", 1.0)),
    **_one("Mouth_Roll_In_Lower", ("mouthRollLower", 1.0)), **_both("Mouth_Down_Lower_{}", "mouthLowerDown{}"),
    **_both("Mouth_Up_Upper_{}", "mouthUpperUp{}"), **_one("Mouth_Pucker", ("mouthPucker", 1.0)),
    **_both("Mouth_Roll_In_Upper_{}", "mouthRollUpper"), **_both("Mouth_Roll_In_Lower_{}", "mouthRollLower"),
    **_both("Mouth_Pucker_Up_{}", "mouthPucker"), **_both("Mouth_Pucker_Down_{}", "mouthPucker"),
    **_both("Mouth_Funnel_Up_{}", "mouthFunnel"), **_both("Mouth_Funnel_Down_{}", "mouthFunnel"),
}  # fmt: skip

_OPEN: Recipe = (("jawOpen", 1.5), ("mouthFunnel", -0.7), ("mouthClose", -1.5))
_WIDE: Recipe = (*_sides("mouthStretch", 0.4), *_sides("mouthSmile", 0.4))
_HALF: Recipe = _sides("mouthLowerDown", 0.6)
_ROUND: Recipe = (("mouthFunnel", 1.2),)
_NARROW: Recipe = (("mouthPucker", 1.0),)

_ROUGH: dict[str, Recipe] = {
    **{canonical(prefix + name): recipe
       for prefix in ("", "Fcl_MTH_", "MTH_", "mouth_", "vrc.v_")
       for names, recipe in ((("A", "aa"), _OPEN), (("I", "ih"), _WIDE), (("U", "ou"), _NARROW), (("E", "ee"), _HALF),
                             (("O", "oh"), _ROUND))
       for name in names},
    **{canonical("viseme_" + name): recipe
       for name, recipe in (("aa", _OPEN), ("E", _HALF), ("I", _WIDE), ("O", _ROUND), ("U", _NARROW),
                            ("PP", (("mouthClose", 2.0), *_sides("mouthPress", 0.6))), ("FF", (("mouthRollLower", 1.5),)))},
    **{name: _sides("eyeBlink", 0.5) for name in ("blink", "eyesclosed", "fcleyeclose", "eyeclose")},
    **_both("Fcl_EYE_Close_{}", "eyeBlink{}"),
    **_both("Blink_{}", "eyeBlink{}"),
    "mouthopen": (("jawOpen", 1.3), ("mouthClose", -1.3)),
    "mouthsmile": _sides("mouthSmile", 0.5),
}  # fmt: skip
"""Followed only on characters without shapes of ARKit's kind: on the others they would double what these do."""

_EXACT: dict[str, Recipe] = {canonical(name): ((name, 1.0),) for name in ARKIT}
_FINE: dict[str, Recipe] = _CHARACTER_CREATOR | _FACESHIFT | _METAHUMAN | _EXACT
ENOUGH = 8
"""Shapes of ARKit's kind from which on a character has them all, and vowels are left alone."""


def recipes(shape_keys: Iterable[str]) -> dict[str, Recipe]:
    """What moves each shape key of a character; names that mean nothing to us are left out.

    Where several spellings of one ARKit shape are there, ARKit's own wins: moving both would move the face twice.
    """
    known = {canonical(name): name for name in reversed(list(shape_keys))}
    found = {name: _FINE[spelt] for spelt, name in known.items() if spelt in _FINE}
    exact = {recipe[0][0] for name, recipe in found.items() if canonical(name) in _EXACT}
    found = {n: r for n, r in found.items() if canonical(n) in _EXACT or r[0][0] not in exact}
    if len(found) < ENOUGH:
        taken = {channel for recipe in found.values() for channel, _ in recipe}
        for spelt, name in known.items():
            if spelt in _ROUGH and name not in found and not taken & {channel for channel, _ in _ROUGH[spelt]}:
                found[name] = _ROUGH[spelt]
    order = list(known.values())
    return {name: found[name] for name in reversed(order) if name in found}
