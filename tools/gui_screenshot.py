# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of Blender's window with a speaking head in the Rendered viewport, taken by a real GUI Blender.

    xvfb-run -a -s '-screen 0 1600x900x24 +extension GLX' \
        blender --window-geometry 0 0 1600 900 --python tools/gui_screenshot.py -- ZIP VOICE OUT.png [SHADING]

Installs the extension zip, adds a head, speaks the voice, goes to a frame in the middle, shows the viewport with the
Loquent sidebar and captures the window with ImageMagick's `import`. SHADING is RENDERED (default) or SOLID.
"""

import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import bpy

ARCHIVE, VOICE, OUT, *REST = sys.argv[sys.argv.index("--") + 1 :]
SHADING = REST[0] if REST else "RENDERED"


bpy.context.preferences.view.show_splash = False  # at once: the first redraw shows it


def prepare() -> None:
    bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
    for ob in list(bpy.data.objects):
        bpy.data.objects.remove(ob)
    bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="ada")
    head = bpy.context.active_object
    head.loquent.sound = VOICE
    bpy.ops.loquent.speak("EXEC_DEFAULT")
    scene = bpy.context.scene
    scene.render.engine = "LOQUENT"
    scene.view_settings.view_transform = "Standard"
    openness = {}
    for frame in range(scene.frame_start, scene.frame_end):
        scene.frame_set(frame)
        openness[frame] = head.loquent.motion.jawOpen
    scene.frame_set(max(openness, key=openness.__getitem__))


def view() -> tuple:
    """Window, 3D viewport and its main region."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return window, area, next(region for region in area.regions if region.type == "WINDOW")


def frame() -> None:
    window, area, region = view()
    space = area.spaces.active
    space.show_region_ui = True
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    space.region_3d.view_perspective = "PERSP"
    space.region_3d.view_distance *= 0.6
    space.region_3d.view_location.z += 0.05
    space.shading.type = SHADING
    space.overlay.show_floor = space.overlay.show_axis_y = False  # at eye height they cross the face
    redraw()


def show() -> None:
    """The Loquent tab; it exists only once the sidebar has been drawn."""
    sidebar = next(region for region in view()[1].regions if region.type == "UI")
    with suppress(AttributeError, TypeError):  # read-only in some versions: the tab is then Blender's own choice
        sidebar.active_panel_category = "Loquent"
    redraw()


def redraw() -> None:
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=3)


STEPS = [prepare, frame, show]


def step() -> float | None:
    try:
        if STEPS:
            STEPS.pop(0)()
            return 1.0
        subprocess.run(["import", "-window", "root", str(Path(OUT))], check=True)
        print("WROTE", OUT, flush=True)
    except Exception:
        traceback.print_exc()
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(step, first_interval=1.0)
