# SPDX-License-Identifier: GPL-3.0-or-later
"""A head of one's own in a real Blender window: from a film, with cancelling and going on, into its footage, inpainted; and splats.

    xvfb-run -a -s '-screen 0 1600x900x24 +extension GLX' \
        blender --factory-startup --enable-event-simulate --window-geometry 0 0 1600 900 \
        --python tools/gui_heads.py -- ZIP WORKER_PYTHON FILM SPLATS VOICE FOLDER [STEPS]

WORKER_PYTHON has torch and MediaPipe; FILM is short, SPLATS a still head (.ply). What has to hold is checked as it goes
(`report.json`); pictures are taken of the X server by ImageMagick's `import`.
"""

import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Blender does not look beside the script
from gui_window import (
    Session,
    Steps,
    area,
    arguments,
    click,
    inside,
    install,
    look,
    module,
    press,
    render,
    sidebar,
    speak,
    window,
)

ARCHIVE, PYTHON, FILM, SPLATS, VOICE, FOLDER, *MORE = arguments()
STEPS = int(MORE[0]) if MORE else 0
run = Session(FOLDER, patience=3000.0)
check, picture, report, OUT = run.check, run.picture, run.report, run.out
bpy.context.preferences.view.filebrowser_display_type = "SCREEN"  # one window: no window manager here places a second


def job():
    return module("jobs").shown()


STAGES = ("Looking for faces", "Cutting out the person", "Learning the head", "Learning the footage")
"""Of a film, as its job names them; others lie between."""


def past(stage: str) -> bool:
    return job().stage in STAGES[STAGES.index(stage) + 1 :]


def at(stage: str, pictures: int = 1):
    """Whether a job is at a stage and has shown so many pictures; or is past it, as on a busy machine; or has ended, which the next
    check tells."""
    first: list[int] = []

    def reached() -> bool:
        now = job()
        if now is None or past(stage):
            return True
        if now.stage != stage:
            return False
        first.append(now.previews)
        return now.previews >= first[0] + pictures - 1 and now.preview is not None

    return reached


def ended() -> bool:
    return job() is None


def dialog(operator: str, file: Path | str, name: str, **values) -> Steps:
    """Through the operator's file dialog, as a user goes: chosen file or folder, fields of the side bar, its button."""
    with inside():
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


def session() -> Steps:
    install(ARCHIVE).worker_python = PYTHON
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
    learning = STAGES[2]
    yield lambda: job() is None or past(learning) or (job().stage == learning and job().fraction > 0)
    check(
        "went_on",
        job() is not None and (past(learning) or job().fraction >= 0.1),
        job() and f"{job().stage} {job().fraction:.2f} after {time.perf_counter() - begun:.0f} s",
    )
    yield at("Learning the footage")
    yield 0.5
    picture("07_footage")
    yield ended
    yield 1.0
    head = bpy.context.view_layer.objects.active
    check("made", head is not None and head.loquent.avatar.endswith(".loq"), head and head.loquent.avatar)
    look()
    yield 0.5
    picture("08_result")
    bpy.context.scene.render.engine = "LOQUENT"
    area().spaces.active.shading.type = "RENDERED"
    yield 1.0
    picture("09_rendered")
    area().spaces.active.shading.type = "SOLID"

    # undone, done again
    with inside():
        bpy.ops.ed.undo_push(message="looked at")
        bpy.ops.ed.undo()
        bpy.ops.ed.undo()
    yield 0.5
    report["heads_after_undo"] = [ob.name for ob in bpy.context.scene.objects]
    with inside():
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
    yield from speak()
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
    yield from render(run, "17_f12")
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


def splats() -> Steps:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    yield 1.0
    sidebar()
    with inside():
        bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="FILE", filepath=SPLATS)
    look(2.0)  # a scan may lie any way: from further off
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
    yield from speak()
    scene = bpy.context.scene
    scene.frame_set(100)
    look(0.5)
    yield 0.5
    picture("23_splats_speak")


run.begin(session())
