# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech on the timeline of a real Blender window: progress, Esc, two windows, the voice under the keys.

    xvfb-run -a -s '-screen 0 1600x900x24 +extension GLX' \
        blender --factory-startup --enable-event-simulate --window-geometry 0 0 1600 900 \
        --python tools/gui_timeline.py -- ZIP VOICE LONG_VOICE FOLDER

What has to hold is checked as it goes (`report.json`, exit code 1 where something does not); pictures are taken of the X
server by ImageMagick's `import`, those for the manual among them. LONG_VOICE is a minute or more, so that there is time to
press Esc.
"""

import itertools
import sys
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
    region,
    speaking,
    window,
)

ARCHIVE, VOICE, LONG, FOLDER = arguments()
run = Session(FOLDER)
check, picture, ticks, OUT = run.check, run.picture, run.ticks, run.out


def box_of(areas) -> tuple[int, int, int, int]:
    left, bottom = min(a.x for a in areas), min(a.y for a in areas)
    right, top = max(a.x + a.width for a in areas), max(a.y + a.height for a in areas)
    return left, window().height - top, right - left, top - bottom


def moved(head) -> bool:
    """Twelve ticks of a head that is dragged about, so that every one redraws."""
    head.location.x = 0.002 * len(ticks)
    return len(ticks) >= 12


def longest_wait() -> float:
    return max(b - a for a, b in itertools.pairwise(ticks))


def curves(action):
    return action.fcurves if hasattr(action, "fcurves") else action.layers[0].strips[0].channelbags[0].fcurves


def only_curves(ob, names: tuple[str, ...]) -> None:
    """These curves selected and shown, the others not."""
    for curve in curves(ob.animation_data.action):
        curve.select = curve.data_path.rsplit(".", 1)[-1] in names
        curve.hide = not curve.select


def only_keys(ob, first: int, last: int) -> None:
    """Keys between two frames selected, the others not."""
    for curve in curves(ob.animation_data.action):
        for key in curve.keyframe_points:
            key.select_control_point = first <= key.co.x <= last
            key.select_left_handle = key.select_right_handle = False


def session() -> Steps:
    install(ARCHIVE)
    view = area()
    with inside(view):
        bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="ada")
    head = bpy.context.active_object
    look()
    view.spaces.active.show_region_ui = True
    yield 0.5
    ticks.clear()
    yield lambda: moved(head)
    quiet = longest_wait()
    head.location.x = 0

    ui = region(view, "UI")
    click(ui.x + ui.width - 10, ui.y + ui.height - 175)  # the tab
    yield 0.5
    picture("panel", (ui.x - 10, window().height - ui.y - ui.height, ui.width + 10, ui.height))

    # Speak a long recording; Blender answers meanwhile; Esc stops it and leaves nothing behind
    head.loquent.sound = LONG
    with inside(view):
        check("speak_starts", bpy.ops.loquent.speak("INVOKE_DEFAULT") == {"RUNNING_MODAL"})
    ticks.clear()
    yield lambda: moved(head)
    longest = longest_wait()
    usable = speaking() and longest < 2 * quiet + 2
    check("usable_meanwhile", usable, f"longest wait {longest:.2f} s, {quiet:.2f} s before")
    check("says_how_far", module("jobs")._running[0].fraction > 0, module("jobs")._running[0].fraction)
    head.location.x = 0.05  # another edit while it is heard
    check("second_speak_is_grey", not bpy.ops.loquent.speak.poll())
    picture("progress")
    press("ESC", view)
    yield lambda: not speaking()
    data = head.animation_data
    check("esc_leaves_nothing", not bpy.data.actions and (data is None or data.action is None))
    head.location.x = 0
    yield 0.5

    # two windows: Speak belongs to the second one, which is closed; then it is asked for again
    with inside(view):
        bpy.ops.wm.window_new()
    second = next(w for w in bpy.context.window_manager.windows if w != window())
    yield 1.0
    with bpy.context.temp_override(window=second):
        bpy.ops.loquent.speak("INVOKE_DEFAULT")
    yield 1.0
    with bpy.context.temp_override(window=second):
        bpy.ops.wm.window_close()
    yield 1.0
    check("closing_its_window_stops_it", not speaking())
    head.loquent.sound, head.loquent.phones = VOICE, "MARKERS"
    with inside(view):
        bpy.ops.wm.window_new()
        bpy.ops.loquent.speak("INVOKE_DEFAULT")
    yield lambda: not speaking()
    for other in list(bpy.context.window_manager.windows)[1:]:
        with bpy.context.temp_override(window=other):
            bpy.ops.wm.window_close()
    yield 0.5
    action = head.animation_data.action
    check("spoken", action is not None and action.name.startswith("Speak"), action and action.name)
    check("phonemes", len(action.pose_markers) > 10, len(action.pose_markers))

    # the keys: Action Editor with markers and voice, Graph Editor with a few curves
    window().workspace = bpy.data.workspaces["Animation"]
    yield 1.0
    views = sorted((a for a in window().screen.areas if a.type == "VIEW_3D"), key=lambda a: a.x)
    graph, view = views[0], views[-1]
    graph.ui_type = "FCURVES"
    sheet = area("DOPESHEET_EDITOR")
    sheet.ui_type = "DOPESHEET"
    sheet.spaces.active.ui_mode = "ACTION"
    yield 0.5
    view.spaces.active.show_region_ui = view.spaces.active.show_region_toolbar = False
    look(0.7, of=view)
    scene = bpy.context.scene
    scene.frame_end = int(action.frame_range[1])
    scene.frame_set(60)
    only_curves(head, ("jawOpen", "mouthPucker"))
    only_keys(head, 62, 100)
    graph.spaces.active.show_region_ui = False
    with inside(graph):
        bpy.ops.graph.view_selected(include_handles=True)
    with inside(sheet):
        bpy.ops.action.view_selected()
    yield 0.5
    before = drawn(sheet, graph)
    picture("keys")
    picture("keys_manual", box_of([graph, view, sheet]))
    check("voice_is_drawn_in_both", before == {"DOPESHEET_EDITOR", "GRAPH_EDITOR"}, sorted(before))
    sheet.ui_type = "FCURVES"
    graph.ui_type = "VIEW_3D"
    yield 0.5
    only_keys(head, 62, 100)
    with inside(sheet):
        bpy.ops.graph.view_selected(include_handles=True)
    yield 0.5
    picture("graph")
    picture("graph_manual", box_of([sheet]))

    # a file is opened while a head is still being taught
    path = OUT / "timeline.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    head.loquent.sound = LONG
    view = sorted((a for a in window().screen.areas if a.type == "VIEW_3D"), key=lambda a: a.x)[-1]
    with inside(view):
        bpy.ops.loquent.speak("INVOKE_DEFAULT")
    yield 1.0
    bpy.ops.wm.open_mainfile(filepath=str(path))
    yield 1.0
    check("opening_a_file_stops_it", not speaking())
    head = next(o for o in bpy.data.objects if o.loquent.avatar)
    bpy.context.view_layer.objects.active = head
    check("and_speak_is_ready_again", bpy.ops.loquent.speak.poll())


def drawn(*editors) -> set[str]:
    """Types of the editors in which the voice was painted in one redraw."""
    waveform = module("waveform")
    seen: set[str] = set()
    paint = waveform.paint

    def noted(corners, colour):
        if len(corners):
            seen.add(bpy.context.area.type)
        paint(corners, colour)

    waveform.paint = noted
    for editor in editors:
        editor.tag_redraw()
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    waveform.paint = paint
    return seen


run.begin(session())
