# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sessions in a real Blender window share: finding places, mouse and keys, pictures, checks, one step after the other.

Mouse and keyboard go through Blender's own event queue (`--enable-event-simulate`), so what is clicked on is what an artist would
click on. Pictures are taken of the X server by ImageMagick's `import`: Blender's own screenshots of a window without a card are black.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bpy

Steps = Iterator[object]
"""What a session yields is waited for: a number of seconds, or a function until it is true."""


class Session:
    """Pictures and the report of one session, in a folder.

    only: names of the pictures that are taken; empty takes all. patience: seconds after which a step is given up.
    """

    def __init__(self, folder: str, only: tuple[str, ...] = (), patience: float = 150.0) -> None:
        self.out, self.only, self.patience = Path(folder), only, patience
        self.out.mkdir(parents=True, exist_ok=True)
        self.report: dict[str, Any] = {"blender": bpy.app.version_string, "failed": []}
        self.ticks: list[float] = []
        """Seconds at which Blender's timers came: long gaps are a window that does not answer."""
        bpy.context.preferences.view.show_splash = False  # at once: the first redraw shows it

    def check(self, name: str, holds: bool, found: object = None) -> None:
        self.report[name] = found if found is not None else holds
        if not holds:
            self.report["failed"].append(name)
        print(f"CHECK {time.perf_counter():.0f} s {name} {holds} {found}", flush=True)

    def picture(self, name: str, box: tuple[int, int, int, int] | None = None) -> None:
        """The whole screen, or (x, y, width, height) of it from the upper left corner."""
        if self.only and name not in self.only:
            return
        redraw()
        crop = ["-crop", f"{box[2]}x{box[3]}+{box[0]}+{box[1]}", "+repage"] if box else []
        subprocess.run(["import", "-window", "root", *crop, str(self.out / f"{name}.png")], check=True)
        print("PICTURE", name, flush=True)

    def begin(self, steps: Steps) -> None:
        """One step after the other, as Blender's timers let them; then `report.json`, and Blender ends: 1 where a check failed."""
        waiting: tuple[object, float] = 0.0, time.perf_counter()

        def step() -> float | None:
            nonlocal waiting
            self.ticks.append(time.perf_counter())
            try:
                wanted, since = waiting
                if callable(wanted) and not wanted():
                    if time.perf_counter() - since < self.patience:
                        return 0.1
                    self.check("in_time", False, f"given up after {self.patience:.0f} s")
                waiting = next(steps), time.perf_counter()
                return waiting[0] if isinstance(waiting[0], float) else 0.1
            except StopIteration:
                self.report["finished"] = True
            except Exception:
                traceback.print_exc()
                self.report["failed"].append(traceback.format_exc())
            (self.out / "report.json").write_text(json.dumps(self.report, indent=1))
            print("REPORT", json.dumps(self.report), flush=True)
            if self.report["failed"]:
                os._exit(1)
            bpy.ops.wm.quit_blender()
            return None

        bpy.app.timers.register(step, first_interval=1.0, persistent=True)


def arguments() -> list[str]:
    """What stands behind `--` on the command line."""
    return sys.argv[sys.argv.index("--") + 1 :]


def install(archive: str) -> Any:
    """Install the extension into an emptied scene; its preferences."""
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    for ob in list(bpy.data.objects):
        bpy.data.objects.remove(ob)
    return next(a for a in bpy.context.preferences.addons if a.module.endswith(".loquent")).preferences


def module(name: str) -> Any:
    """A module of the add-on, under whatever name Blender has imported it."""
    return sys.modules[next(found for found in sys.modules if found.endswith(f"loquent.addon.{name}"))]


def speaking() -> bool:
    return module("jobs").running()


# ---- where things are


def window() -> Any:
    return bpy.context.window_manager.windows[0]


def area(kind: str = "VIEW_3D") -> Any:
    return next(a for a in window().screen.areas if a.type == kind)


def region(of: Any, kind: str = "WINDOW") -> Any:
    return next(r for r in of.regions if r.type == kind)


def inside(of: Any = None) -> Any:
    """A context in this area, the 3D view unless named."""
    of = of or area()
    return bpy.context.temp_override(window=window(), screen=window().screen, area=of, region=region(of))


def redraw() -> None:
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)


def sidebar() -> None:
    """The sidebar of the 3D view with Loquent's tab open."""
    area().spaces.active.show_region_ui = True
    redraw()  # the tab exists only once the sidebar has been drawn
    with suppress(AttributeError, TypeError):  # read-only in some versions: the tab is then Blender's own choice
        region(area(), "UI").active_panel_category = "Loquent"


def look(zoom: float = 0.6, up: float = 0.0, axis: str = "FRONT", persp: str = "PERSP", of: Any = None) -> None:
    """The active object, near, from an axis. up: metres."""
    of = of or area()
    with inside(of):
        bpy.ops.view3d.view_axis(type=axis)
        bpy.ops.view3d.view_selected()
    view = of.spaces.active.region_3d
    view.view_perspective = persp
    view.view_distance *= zoom
    view.view_location.z += up


# ---- mouse and keys


def event(kind: str, value: str, x: int, y: int) -> None:
    window().event_simulate(type=kind, value=value, x=x, y=y)


def click(x: int, y: int, key: str = "LEFTMOUSE") -> None:
    """A key or button pressed and released where the mouse is moved to."""
    event("MOUSEMOVE", "NOTHING", x, y)
    event(key, "PRESS", x, y)
    event(key, "RELEASE", x, y)


def press(key: str, of: Any = None) -> None:
    """A key with the mouse in the middle of an area, the 3D view unless named."""
    over = region(of or area())
    click(over.x + over.width // 2, over.y + over.height // 2, key)


# ---- what takes a while


def speak() -> Steps:
    with inside():
        bpy.ops.loquent.speak("INVOKE_DEFAULT")
    yield 0.2
    yield lambda: not speaking()


def render(session: Session, name: str) -> Steps:
    """F12 in place of the 3D view, which comes back."""
    rendered: list[object] = []

    def done(*_: object) -> None:
        rendered.append(True)

    bpy.app.handlers.render_complete.append(done)
    bpy.context.preferences.view.render_display_type = "AREA"
    with inside():
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield lambda: rendered
    bpy.app.handlers.render_complete.remove(done)
    yield 1.0
    session.picture(name)
    area("IMAGE_EDITOR").type = "VIEW_3D"
