# SPDX-License-Identifier: GPL-3.0-or-later
"""A head of one's own in a real Blender window: from a film, with cancelling and going on, into its footage, inpainted; and splats.

    xvfb-run -a -s '-screen 0 1600x900x24 +extension GLX' \
        blender --factory-startup --enable-event-simulate --window-geometry 0 0 1600 900 \
        --python tools/gui_heads.py -- ZIP WORKER_PYTHON FILM SPLATS VOICE FOLDER [STEPS]

WORKER_PYTHON has torch and MediaPipe; FILM is short, SPLATS a still head (.ply). What has to hold is checked as it goes
(`report.json`); pictures are taken of the X server by ImageMagick's `import`.
"""

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import bpy

ARCHIVE, PYTHON, FILM, SPLATS, VOICE, FOLDER, *MORE = sys.argv[sys.argv.index("--") + 1 :]
STEPS = int(MORE[0]) if MORE else 0
OUT = Path(FOLDER)
OUT.mkdir(parents=True, exist_ok=True)
LONGEST = 3000.0
"""Seconds after which a step is given up."""
report: dict[str, object] = {"blender": bpy.app.version_string, "failed": []}
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.view.filebrowser_display_type = "SCREEN"  # one window: no window manager here places a second


def check(name: str, holds: bool, found: object = None) -> None:
    report[name] = found if found is not None else holds
    if not holds:
        report["failed"].append(name)
    print(f"CHECK {time.perf_counter():.0f} s {name} {holds} {found}", flush=True)


def window():
    return bpy.context.window_manager.windows[0]


def area(kind: str):
    return next(a for a in window().screen.areas if a.type == kind)


def region(of, kind: str = "WINDOW"):
    return next(r for r in of.regions if r.type == kind)


def inside(of):
    return bpy.context.temp_override(window=window(), screen=window().screen, area=of, region=region(of))


def picture(name: str) -> None:
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)
    subprocess.run(["import", "-window", "root", str(OUT / f"{name}.png")], check=True)
    print("PICTURE", name, flush=True)


def click(x: int, y: int) -> None:
    window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    window().event_simulate(type="LEFTMOUSE", value="PRESS", x=x, y=y)
    window().event_simulate(type="LEFTMOUSE", value="RELEASE", x=x, y=y)


def press(key: str) -> None:
    over = region(area("VIEW_3D"))
    x, y = over.x + over.width // 2, over.y + over.height // 2
    window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    window().event_simulate(type=key, value="PRESS", x=x, y=y)
    window().event_simulate(type=key, value="RELEASE", x=x, y=y)


def module(name: str):
    return sys.modules[next(found for found in sys.modules if found.endswith(f"loquent.addon.{name}"))]


def job():
    return module("jobs").shown()


def at(stage: str, pictures: int = 1):
    """Whether a job is at a stage and has shown so many pictures; or has ended, which the next check tells."""
    first: list[int] = []

    def reached() -> bool:
        now = job()
        if now is None:
            return True
        if now.stage != stage:
            return False
        first.append(now.previews)
        return now.previews >= first[0] + pictures - 1 and now.preview is not None

    return reached


def ended() -> bool:
    return job() is None


def sidebar() -> None:
    space = area("VIEW_3D").spaces.active
    space.show_region_ui = True
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    with suppress(AttributeError, TypeError):
        region(area("VIEW_3D"), "UI").active_panel_category = "Loquent"


def near(ob, zoom: float = 0.6) -> None:
    with inside(area("VIEW_3D")):
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    view = area("VIEW_3D").spaces.active.region_3d
    view.view_perspective = "PERSP"
    view.view_distance *= zoom


def dialog(operator: str, file: Path | str, name: str, **values) -> Iterator[object]:
    """Through the operator's file dialog, as a user goes: chosen file or folder, fields of the side bar, its button."""
    with inside(area("VIEW_3D")):
        getattr(bpy.ops.loquent, operator)("INVOKE_DEFAULT")
    yield 1.5
    browser = area("FILE_BROWSER")
    space = browser.spaces.active
    file = Path(file)
    if file.is_dir() or not file.suffix:
        space.params.directory = str(file).encode()
    else:
        space.params.directory, space.params.filename = str(file.parent).encode(), file.name
    for key, value in values.items():
        setattr(space.active_operator, key, value)
    yield 1.0
    picture(name)
    click(browser.x + browser.width - 70, browser.y + 25)  # the button that does it, in the lower right corner
    yield lambda: all(a.type != "FILE_BROWSER" for a in window().screen.areas)
    yield 0.5


def session() -> Iterator[object]:
    bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
    name = next(a.module for a in bpy.context.preferences.addons if a.module.endswith(".loquent"))
    bpy.context.preferences.addons[name].preferences.worker_python = PYTHON
    for ob in list(bpy.data.objects):
        bpy.data.objects.remove(ob)
    blend = OUT / "heads.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    sidebar()
    agreed = {"subject": "Speaker of GRID", "consent": "Recorded for research, passed on freely; a test."}

    # a film, stopped half-way, and gone on with
    yield from dialog("head_from_video", FILM, "01_dialog", **agreed, steps=STEPS)
    check("making", job() is not None)
    yield at("Looking for faces")
    yield 0.5
    picture("02_looking")
    yield at("Cutting out the person")
    yield 0.5
    picture("03_cutting")
    yield at("Learning the head", 2)
    yield 0.5
    picture("04_learning")
    check("busy", not bpy.ops.loquent.head_from_video.poll())
    begun = time.perf_counter()
    press("ESC")
    yield ended
    check("cancelled", not bpy.context.scene.objects, f"{time.perf_counter() - begun:.1f} s")
    yield 0.5
    picture("05_cancelled")
    begun = time.perf_counter()
    yield from dialog("head_from_video", FILM, "06_again", **agreed, steps=STEPS)
    yield lambda: job() is None or (job().stage == "Learning the head" and job().fraction > 0)
    check(
        "went_on",
        job() is not None and job().fraction >= 0.1,
        job() and f"{job().fraction:.2f} after {time.perf_counter() - begun:.0f} s",
    )
    yield at("Learning the footage")
    yield 0.5
    picture("07_footage")
    yield ended
    yield 1.0
    head = bpy.context.view_layer.objects.active
    check("made", head is not None and head.loquent.avatar.endswith(".loq"), head and head.loquent.avatar)
    near(head)
    yield 0.5
    picture("08_result")
    bpy.context.scene.render.engine = "LOQUENT"
    area("VIEW_3D").spaces.active.shading.type = "RENDERED"
    yield 1.0
    picture("09_rendered")
    area("VIEW_3D").spaces.active.shading.type = "SOLID"

    # undone, done again
    with inside(area("VIEW_3D")):
        bpy.ops.ed.undo_push(message="looked at")
        bpy.ops.ed.undo()
        bpy.ops.ed.undo()
    yield 0.5
    report["heads_after_undo"] = [ob.name for ob in bpy.context.scene.objects]
    with inside(area("VIEW_3D")):
        bpy.ops.ed.redo()
        bpy.ops.ed.redo()
    yield 0.5
    head = next((ob for ob in bpy.context.scene.objects if ob.type == "MESH"), None)
    check("redone", head is not None)
    assert head is not None

    # it speaks, and goes back into its film
    bpy.context.view_layer.objects.active = head
    head.select_set(True)
    head.loquent.sound = VOICE
    with inside(area("VIEW_3D")):
        bpy.ops.loquent.speak("INVOKE_DEFAULT")
    yield 0.2
    yield lambda: not module("jobs").running()
    check(
        "speaks",
        bool(head.animation_data and head.animation_data.action),
        head.animation_data and head.animation_data.action.name,
    )
    yield from dialog("head_over_footage", FILM, "10_over_dialog")
    yield 1.0
    bpy.context.scene.frame_set(30)
    yield 0.5
    picture("11_over_footage")
    check("camera", bpy.context.scene.camera is not None)
    folder = OUT / "frames"
    folder.mkdir(exist_ok=True)
    yield from dialog("inpaint_footage", folder, "12_inpaint_dialog")
    yield lambda: job() is None or job().previews >= 5
    picture("13_inpainting")
    press("ESC")
    yield ended
    some = len(list(folder.glob("*.png")))
    check("inpainting_stopped", 0 < some < 75, some)
    yield 0.5
    picture("14_stopped")
    yield from dialog("inpaint_footage", folder, "15_inpaint_again")
    yield ended
    yield 0.5
    check("inpainted", len(list(folder.glob("*.png"))) > some, len(list(folder.glob("*.png"))))
    picture("16_inpainted")
    rendered: list[object] = []
    bpy.app.handlers.render_complete.append(lambda *_: rendered.append(True))
    bpy.context.preferences.view.render_display_type = "AREA"
    with inside(area("VIEW_3D")):
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield lambda: rendered
    yield 1.0
    picture("17_f12")
    next(a for a in window().screen.areas if a.type == "IMAGE_EDITOR").type = "VIEW_3D"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    yield 1.5
    sidebar()
    head = next(ob for ob in bpy.context.scene.objects if ob.type == "MESH")
    bpy.context.view_layer.objects.active = head
    bpy.context.scene.frame_set(30)
    yield 0.5
    picture("18_reloaded")
    check("reloaded", head.loquent.avatar.startswith("//") and bool(head.loquent.footage), head.loquent.avatar)

    # splats that another program made
    yield from splats()


def splats() -> Iterator[object]:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    yield 1.0
    sidebar()
    with inside(area("VIEW_3D")):
        bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="FILE", filepath=SPLATS)
    near(bpy.context.active_object)
    yield 0.5
    picture("20_plain_splats")
    yield from dialog("head_from_splats", SPLATS, "21_splats_dialog", subject="James", synthetic=True, folder=str(OUT))
    yield lambda: job() is None or job().preview is not None
    yield 0.5
    picture("22_registering")
    yield ended
    yield 0.5
    head = bpy.context.view_layer.objects.active
    check("splats_made", head is not None and head.loquent.avatar.endswith(".loq"), head and head.loquent.avatar)
    assert head is not None
    for other in [ob for ob in bpy.context.scene.objects if ob != head]:
        bpy.data.objects.remove(other)
    head.loquent.sound = VOICE
    with inside(area("VIEW_3D")):
        bpy.ops.loquent.speak("INVOKE_DEFAULT")
    yield 0.2
    yield lambda: not module("jobs").running()
    scene = bpy.context.scene
    scene.frame_set(100)
    near(head, 0.5)
    yield 0.5
    picture("23_splats_speak")


steps = session()
waiting: tuple[object, float] = 0.0, time.perf_counter()


def step() -> float | None:
    global waiting
    try:
        wanted, since = waiting
        if callable(wanted) and not wanted() and time.perf_counter() - since < LONGEST:
            return 0.1
        waiting = next(steps), time.perf_counter()
        return waiting[0] if isinstance(waiting[0], float) else 0.1
    except StopIteration:
        report["finished"] = True
    except Exception:
        traceback.print_exc()
        report["error"] = traceback.format_exc()
    (OUT / "report.json").write_text(json.dumps(report, indent=1))
    print("REPORT", json.dumps(report), flush=True)
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(step, first_interval=1.0, persistent=True)
