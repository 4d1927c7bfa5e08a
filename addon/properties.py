# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved in a file: the settings of a head and its motion channels, as properties of its object."""

import re

import bpy

from ..core.head.motion import ARKIT, CHANNELS, ROTATIONS
from ..core.head.sliders import LARGEST, SLIDERS

MOTION_PATH = "loquent.motion."
"""Data path, from the object, that channels of motion are animated under."""

OVERRIDE = {"LIBRARY_OVERRIDABLE"}
"""Everything may be set on a library override: linked heads and characters speak too."""
DEFAULT_MILLIMETRES = 0.3

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
            override=OVERRIDE,
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
            override=OVERRIDE,
        )
    return bpy.props.FloatProperty(
        name=label(name), description=f"Offset {name} of the head from the neck", subtype="DISTANCE", unit="LENGTH",
        min=-1.0, max=1.0, soft_min=-0.05, soft_max=0.05, precision=4, override=OVERRIDE,
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
    return bpy.props.FloatProperty(
        name=name, description=description, default=default, min=low, max=high, override=OVERRIDE, **more
    )


def _path(name: str, description: str):
    return bpy.props.StringProperty(
        name=name, description=description, subtype="FILE_PATH", options=BLEND_RELATIVE, override=OVERRIDE
    )


def _whole(name: str, description: str, default: int = 0, **more):
    return bpy.props.IntProperty(name=name, description=description, default=default, override=OVERRIDE, **more)


def _switch(name: str, description: str, default: bool = False):
    return bpy.props.BoolProperty(name=name, description=description, default=default, override=OVERRIDE)


def _choice(name: str, description: str, *items: tuple[str, str, str]):
    return bpy.props.EnumProperty(name=name, description=description, items=items, override=OVERRIDE)


class LoquentControls(bpy.types.PropertyGroup):
    """What an animator asks of a performance: the fields of core's Controls, with the same ranges and defaults."""

    articulation: _control("Articulation", "Strength of all mouth movement", 1.0, 0.0, 2.0)
    jaw: _control("Jaw", "Strength of the jaw alone", 1.0, 0.0, 2.0)
    lips: _control("Lips", "Strength of the lips alone; they close where they must at any setting", 1.0, 0.0, 2.0)
    mouth_only: _switch("Mouth Only", "Jaw, lips, tongue, cheeks and nose move; eyes, brows and head are left to you")
    blink_rate: _control("Blinks per Minute", "0: no blinks", 16.0, 0.0, 60.0)
    gaze: _control("Gaze", "Strength of eye movement; 0: the eyes look straight ahead", 1.0, 0.0, 3.0)
    brows: _control("Brows", "Strength of brow movement", 1.0, 0.0, 3.0)
    head_motion: _control("Head Motion", "Strength of nods and turns; 0: the head is still", 1.0, 0.0, 3.0)
    nods: _control("Nods", "Strength of the nods on stressed words alone", 1.0, 0.0, 3.0)
    breathing: _control("Breathing", "Strength of the head's movement with the breath", 1.0, 0.0, 3.0)
    neutral: _control("Neutral", "Waters the other moods down", 0.0, 0.0, 1.0)
    happy: _control("Happy", "A mood laid over the performance; moods mix", 0.0, 0.0, 1.0)
    sad: _control("Sad", "A mood laid over the performance; moods mix", 0.0, 0.0, 1.0)
    angry: _control("Angry", "A mood laid over the performance; moods mix", 0.0, 0.0, 1.0)
    surprised: _control("Surprised", "A mood laid over the performance; moods mix", 0.0, 0.0, 1.0)
    delay_seconds: _control("Delay", "Moves the mouth later (or earlier) than the sound, in seconds", 0.0, -1.0, 1.0)
    smoothing: _control("Smoothing", "Width in seconds of a filter that keeps closures", 0.015, 0.0, 0.2, precision=3)


CONTROLS = tuple(LoquentControls.__annotations__)
"""Names of the controls, in the order in which panels show them."""


# In standard deviations of people: one named, ranged property a component, which can be keyed like everything else.
LoquentIdentity = type(
    "LoquentIdentity",
    (bpy.types.PropertyGroup,),
    {
        "__doc__": "What is added to a head's identity: core's SLIDERS.",
        "__annotations__": {
            name: _control(slider.label, slider.told, 0.0, -LARGEST, LARGEST, soft_min=-3.0, soft_max=3.0, precision=2)
            for name, slider in SLIDERS.items()
        },
    },
)


class LoquentShape(bpy.types.PropertyGroup):
    """A row of a character's table: this shape key follows that channel. `name` is the shape key's."""

    channel: bpy.props.StringProperty(name="Channel", description="Motion channel it follows", override=OVERRIDE)
    factor: bpy.props.FloatProperty(
        name="Factor", description="The shape key's value where the channel is 1", default=1.0, soft_min=-2.0, soft_max=2.0,
        override=OVERRIDE,
    )  # fmt: skip


class LoquentHead(bpy.types.PropertyGroup):
    """Settings of one performer. An object is a head when `avatar` is not empty, a character when `shapes` is not."""

    avatar: _path("Head", "Name of a built-in head, or a .loq file")
    uuid: bpy.props.StringProperty(name="Identifier", options={"HIDDEN"}, override=OVERRIDE)
    motion: bpy.props.PointerProperty(type=LoquentMotion, override=OVERRIDE)
    adjust: bpy.props.PointerProperty(
        type=LoquentMotion, description="Added to the spoken channels by hand", override=OVERRIDE
    )
    rig: bpy.props.PointerProperty(
        type=LoquentMotion, description="Added to the spoken channels by the control rig", override=OVERRIDE
    )
    identity: bpy.props.PointerProperty(
        type=LoquentIdentity, description="Another shape of head under the same looks", override=OVERRIDE
    )
    blend_with: _path(
        "Blend with Head", "Name of a built-in head, or a .loq file, that this one turns into as Blend goes to 1"
    )
    blend: _control("Blend", "0: this head; 1: the other one. Can be keyed", 0.0, 0.0, 1.0, subtype="FACTOR")
    blend_shape_only: _switch("Shape Only", "Only the shape of the head blends; skin, eyes and hair stay")
    hold: _control(
        "Eyes Hold Target",
        "1: the eyes stay on the control rig's target whatever the head and the speech do",
        0.0,
        0.0,
        1.0,
    )
    controls: bpy.props.PointerProperty(type=LoquentControls, override=OVERRIDE)
    shapes: bpy.props.CollectionProperty(type=LoquentShape, override={"LIBRARY_OVERRIDABLE", "USE_INSERTION"})
    shape_index: bpy.props.IntProperty(name="Row", options={"HIDDEN"}, override=OVERRIDE)
    source: _choice(
        "Source",
        "What is spoken",
        ("FILE", "File", "A recording; Speak puts it into the sequencer as a strip"),
        ("STRIP", "Strip", "The active sound strip of the sequencer, as it is cut there"),
        ("TRACK", "Track", "All sound strips of one channel of the sequencer that are not muted"),
    )
    sound: _path("Sound", "Recording that is spoken: WAV, FLAC, OGG or MP3")
    track: _whole("Channel", "Channel of the sequencer whose strips are spoken", 1, min=1, max=128)
    style: _path(
        "Voice Style",
        "How somebody speaks, learned from their recordings: a .style file. Empty: the one that ships",
    )
    start: _whole("Start Frame", "Frame at which the sound and the motion begin", 1)
    seed: _whole("Seed", "Another seed gives another performance: blinks, head movement", min=0)
    mode: _choice(
        "Keys",
        "What becomes of the present take",
        (
            "REPLACE",
            "New Take",
            "A new take; keys that you changed are kept where the same recording is spoken again",
        ),
        ("APPEND", "Add to Take", "Keys of the present take outside this speech stay: line after line in one Action"),
    )
    keep_edits: _switch("Keep Edits", "Keys that you moved, added, deleted or reshaped stay as you left them", True)
    use_range: _switch("Range", "Speak only between two frames; keys outside them stay")
    range_start: _whole("From", "First frame spoken", 1)
    range_end: _whole("To", "Last frame spoken", 250)
    sparse: _switch("Sparse Keys", "Few keys with handles, easy to edit. Off: a key on every frame", True)
    millimetres: _control(
        "Error", "How far, in millimetres, any point of the face may be from the dense motion", DEFAULT_MILLIMETRES, 0.01, 5.0,
        soft_max=1.0, precision=2,
    )  # fmt: skip
    phones: _choice(
        "Phonemes",
        "Where the sounds that are spoken are written down",
        ("NONE", "Not Shown", "Kept with the take only"),
        ("MARKERS", "Markers", "Markers of the Action, shown in the Action Editor"),
        ("STRIPS", "Strips", "Muted text strips in the sequencer, above everything else"),
    )
    footage: _path("Film", "The film that this head was made from, which it is put back into")
    footage_start: _whole("Film Starts", "Frame at which the film's first picture is shown", 1)
    layer: _choice(
        "Sliders",
        "Which values the sliders set",
        ("adjust", "On Top", "Added to the speech: holds for the whole shot, or key it"),
        ("motion", "Spoken", "The channels that Speak keys"),
    )


def settle(ob) -> None:
    """Give every group of an object's settings a place in the file, as it is.

    Blender 5 cannot store an override of one setting where the linked file holds nothing of its group.
    """
    head = ob.loquent
    for group in (head.motion, head.adjust, head.rig):
        group.jawOpen = group.jawOpen
    head.controls.jaw = head.controls.jaw
    head.identity.size = head.identity.size


CLASSES = (LoquentMotion, LoquentControls, LoquentIdentity, LoquentShape, LoquentHead)


_register, _unregister = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register()
    bpy.types.Object.loquent = bpy.props.PointerProperty(type=LoquentHead, override=OVERRIDE)


def unregister() -> None:
    del bpy.types.Object.loquent
    _unregister()
