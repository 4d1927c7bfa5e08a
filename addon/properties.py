# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved in a file: the settings of a head and its motion channels, as properties of its object."""

import re

import bpy

from ..core.head.motion import ARKIT, CHANNELS, ROTATIONS

MOTION_PATH = "loquent.motion."
"""Data path, from the object, that channels of motion are animated under."""


BLEND_RELATIVE = (
    {"PATH_SUPPORTS_BLEND_RELATIVE"}
    if "is_path_supports_blend_relative" in bpy.types.Property.bl_rna.properties
    else set()
)
"""Options of a path that may begin with `//`; Blender warns without since 4.5, and does not know it before."""


def label(channel: str) -> str:
    """`mouthSmileLeft` -> `Mouth Smile Left`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", channel[:1].upper() + channel[1:])


def _channel_property(name: str):
    if name in ARKIT:
        # The hard range is wider than ARKit's 0 to 1: layers of animation that add to each other must not be clipped.
        return bpy.props.FloatProperty(
            name=label(name),
            description=f"ARKit coefficient {name}",
            min=-1.0,
            max=2.0,
            soft_min=0.0,
            soft_max=1.0,
            precision=3,
        )
    if name in ROTATIONS:
        return bpy.props.FloatProperty(
            name=label(name),
            description=f"Angle {name}",
            subtype="ANGLE",
            min=-1.6,
            max=1.6,
            soft_min=-0.6,
            soft_max=0.6,
        )
    return bpy.props.FloatProperty(
        name=label(name), description=f"Offset {name} of the head from the neck", subtype="DISTANCE", unit="LENGTH",
        min=-1.0, max=1.0, soft_min=-0.05, soft_max=0.05, precision=4,
    )  # fmt: skip


# One named, ranged property a channel: it can be keyed, driven, searched and read in the Graph Editor.
LoquentMotion = type(
    "LoquentMotion",
    (bpy.types.PropertyGroup,),
    {
        "__doc__": "Channels of motion of one head; the same names as core's CHANNELS.",
        "__annotations__": {name: _channel_property(name) for name in CHANNELS},
    },
)


def _control(name: str, description: str, default: float, low: float, high: float, **more):
    return bpy.props.FloatProperty(name=name, description=description, default=default, min=low, max=high, **more)


class LoquentControls(bpy.types.PropertyGroup):
    """What an animator asks of a performance: the fields of core's Controls, with the same ranges and defaults."""

    articulation: _control("Articulation", "Strength of all mouth movement", 1.0, 0.0, 2.0)
    jaw: _control("Jaw", "Strength of the jaw alone", 1.0, 0.0, 2.0)
    lips: _control("Lips", "Strength of the lips alone; they close where they must at any setting", 1.0, 0.0, 2.0)
    mouth_only: bpy.props.BoolProperty(name="Mouth Only", description="Leave eyes, brows and head alone", default=False)
    blink_rate: _control("Blinks per Minute", "0: no blinks", 16.0, 0.0, 60.0)
    gaze: _control("Gaze", "Strength of eye movement; 0: the eyes look straight ahead", 1.0, 0.0, 3.0)
    brows: _control("Brows", "Strength of brow movement", 1.0, 0.0, 3.0)
    head_motion: _control("Head Motion", "Strength of all head movement; 0: the head is still", 1.0, 0.0, 3.0)
    nods: _control("Nods", "Strength of nods on stressed syllables", 1.0, 0.0, 3.0)
    breathing: _control("Breathing", "Strength of the breath's rise and fall", 1.0, 0.0, 3.0)
    neutral: _control("Neutral", "Waters the other moods down", 0.0, 0.0, 1.0, subtype="FACTOR")
    happy: _control("Happy", "Smiles; moods mix, and lips still close", 0.0, 0.0, 1.0, subtype="FACTOR")
    sad: _control("Sad", "Lowers head and corners of the mouth, speaks less", 0.0, 0.0, 1.0, subtype="FACTOR")
    angry: _control("Angry", "Knits the brows, narrows the eyes, nods harder", 0.0, 0.0, 1.0, subtype="FACTOR")
    surprised: _control("Surprised", "Raises the brows, widens the eyes", 0.0, 0.0, 1.0, subtype="FACTOR")
    delay_seconds: _control("Delay", "Moves the mouth later (or earlier) than the sound, in seconds", 0.0, -1.0, 1.0)
    smoothing: _control("Smoothing", "Width in seconds of a filter that keeps closures", 0.015, 0.0, 0.2, precision=3)


CONTROLS = tuple(LoquentControls.__annotations__)
"""Names of the controls, in the order in which panels show them."""


class LoquentHead(bpy.types.PropertyGroup):
    """Settings of one head. An object is a head when `avatar` is not empty."""

    avatar: bpy.props.StringProperty(
        name="Head",
        description="Name of a built-in head, or a .loq file",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    uuid: bpy.props.StringProperty(name="Identifier", options={"HIDDEN"})
    motion: bpy.props.PointerProperty(type=LoquentMotion)
    controls: bpy.props.PointerProperty(type=LoquentControls)
    sound: bpy.props.StringProperty(
        name="Sound",
        description="Recording that this head speaks: WAV, FLAC, OGG or MP3",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    start: bpy.props.IntProperty(
        name="Start Frame", description="Frame at which the sound and the motion begin", default=1
    )
    seed: bpy.props.IntProperty(
        name="Seed", description="Another seed gives another performance: blinks, head movement", default=0, min=0
    )


def register() -> None:
    for cls in (LoquentMotion, LoquentControls, LoquentHead):
        bpy.utils.register_class(cls)
    bpy.types.Object.loquent = bpy.props.PointerProperty(type=LoquentHead)


def unregister() -> None:
    del bpy.types.Object.loquent
    for cls in (LoquentHead, LoquentControls, LoquentMotion):
        bpy.utils.unregister_class(cls)
