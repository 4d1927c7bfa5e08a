# SPDX-License-Identifier: GPL-3.0-or-later
"""One place where errors of core become messages of Blender."""

from typing import Any

from ...core.errors import Cancelled, LoquentError
from ..convert import is_head


class CoreOperator:
    """Mix-in: `run` does the work; its LoquentErrors become one report and {'CANCELLED'}."""

    def execute(self, context: Any) -> set[str]:
        return self.guarded(self.run, context)

    def guarded(self, step: Any, *args: Any) -> set[str]:
        try:
            return step(*args) or {"FINISHED"}
        except Cancelled as stop:
            self.report({"WARNING"}, str(stop))
        except LoquentError as error:
            self.report({"ERROR"}, str(error))
        return {"CANCELLED"}


def active_head(cls: Any, context: Any) -> Any:
    """The active object if it is a head, else None with the reason on the greyed button."""
    ob = context.active_object
    if is_head(ob):
        return ob
    cls.poll_message_set("Select a Loquent head first, or add one")
    return None


def active_performer(cls: Any, context: Any) -> Any:
    """The active object if it is a head or a character that can speak, else None with the reason."""
    from ..performers import is_performer

    ob = context.active_object
    if is_performer(ob):
        return ob
    if ob is not None and ob.type == "MESH" and ob.data.shape_keys:
        cls.poll_message_set("Press Find Shape Keys first: it maps this character's shape keys to speech")
    else:
        cls.poll_message_set("Select a Loquent head first, or add one")
    return None
