# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors a user may read: each message says what was expected, what was found and what to do.

LoquentError
├── AssetError     a file that ships with Loquent is missing or damaged
├── FormatError    a file of the user's is not what it should be, or cannot be written
├── AudioError     a recording cannot be read
├── MotionError    motion data of the wrong shape, rate or names
├── RasterError    arrays the rasteriser cannot draw
├── SceneError     the Blender scene lacks something that the command needs
├── WorkerError    the compute process failed or was lost
├── CaptureError   a photo or film in which no face can be followed, or what capture needs is not installed
└── Cancelled      the user pressed Esc; not a failure
"""


class LoquentError(Exception):
    """Base of all errors meant for the user."""


class AssetError(LoquentError):
    pass


class FormatError(LoquentError):
    pass


class AudioError(LoquentError):
    pass


class MotionError(LoquentError):
    pass


class RasterError(LoquentError):
    pass


class SceneError(LoquentError):
    pass


class WorkerError(LoquentError):
    pass


class CaptureError(LoquentError):
    pass


class Cancelled(LoquentError):
    pass
