# SPDX-License-Identifier: GPL-3.0-or-later
"""A session in a real Blender window, from installing to reloading, with a screenshot after every step.

    xvfb-run -a -s '-screen 0 1600x900x24 +extension GLX' \
        blender --factory-startup --enable-event-simulate --window-geometry 0 0 1600 900 \
        --python tools/gui_session.py -- ZIP VOICE VOICE2 FOLDER [STEP ...]

Mouse and keyboard go through Blender's own event queue, so what is clicked on is what an artist would click on. Pictures
are taken of the X server by ImageMagick's `import`; `report.json` says what each step found. With STEPs only those are
pictured (what comes before is done all the same).
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

import bpy
from mathutils import Euler, Matrix

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Blender does not look beside the script
from gui_window import (
    Session,
    Steps,
    area,
    arguments,
    click,
    event,
    inside,
    install,
    look,
    module,
    region,
    render,
    sidebar,
    speak,
    window,
)

ARCHIVE, VOICE, VOICE2, FOLDER, *ONLY = arguments()
run = Session(FOLDER, tuple(ONLY))
picture, report, OUT = run.picture, run.report, run.out
with suppress(TypeError):  # without a device playback follows no sound; ALSOFT_DRIVERS=null makes one that is silent
    bpy.context.preferences.system.audio_device = "OpenAL"


def heads():
    return [ob for ob in bpy.context.scene.objects if ob.type == "MESH" and ob.loquent.avatar]


def show(shading: str, *, zoom=0.6, up=0.05, axis="FRONT", persp="PERSP") -> None:
    """The active object, near, from an axis, in a shading."""
    area().spaces.active.show_region_ui = True
    look(zoom, up, axis, persp)
    area().spaces.active.shading.type = shading


def around(yaw: float, pitch: float, distance: float, target=(0, 0, 0)) -> None:
    view = area().spaces.active.region_3d
    view.view_perspective = "PERSP"
    view.view_location = target
    view.view_distance = distance
    view.view_rotation = Euler((1.5708 + pitch, 0, yaw)).to_quaternion()


def screen_point(point) -> tuple[int, int]:
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    view = region(area())
    at = location_3d_to_region_2d(view, area().spaces.active.region_3d, point)
    return view.x + int(at.x), view.y + int(at.y)


def widest() -> int:
    """The frame with the widest open mouth."""
    scene, head = bpy.context.scene, heads()[0]
    open_at = {}
    for frame in range(scene.frame_start, min(scene.frame_end, 160)):
        scene.frame_set(frame)
        open_at[frame] = head.loquent.motion.jawOpen
    return max(open_at, key=open_at.__getitem__)


def redraw_ms() -> float:
    """Milliseconds of a redraw of the whole window, the fastest of three."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
        times.append((time.perf_counter() - begun) * 1e3)
    return min(times)


def shown() -> list[str]:
    """Names of the heads that the 3D view draws."""
    with inside():
        found = module("viewport").visible(bpy.context.evaluated_depsgraph_get(), area().spaces.active)
        return sorted(Path(head.loaded.path).stem for head in found)


# ---- the session: what yields waits until that is true (or so many seconds)


def session() -> Steps:
    install(ARCHIVE)
    scene = bpy.context.scene
    area().spaces.active.show_region_ui = True
    yield 0.5
    sidebar()
    yield 0.3
    picture("01_installed")

    with inside():
        bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="ada")
    head = heads()[0]
    show("SOLID")
    yield 0.3
    picture("02_head_added")

    # a click into empty space, then one on the face
    view = region(area())
    click(view.x + 150, view.y + 300)
    yield 0.5
    report["selected_after_empty_click"] = head.select_get()
    click(*screen_point((0.03, -0.1, 0.02)))
    yield 0.5
    report["selected_after_click_on_face"] = head.select_get()
    picture("03_clicked")

    head.loquent.sound = VOICE
    yield from speak()
    report["action"] = head.animation_data.action.name if head.animation_data and head.animation_data.action else None
    scene.frame_set(widest())
    picture("04_spoken")

    yield from shadings(head)

    # play with the sound, a second and a half
    show("SOLID")
    scene.frame_set(1)
    scene.sync_mode = "AUDIO_SYNC"
    with inside():
        bpy.ops.screen.animation_play()
    begun = time.perf_counter()
    yield lambda: time.perf_counter() - begun > 6
    report["played_frames"], report["played_s"] = scene.frame_current - 1, time.perf_counter() - begun
    report["fps"] = scene.render.fps / scene.render.fps_base
    picture("20_playing")
    with inside():
        bpy.ops.screen.animation_cancel(restore_frame=False)

    yield from scrub()
    yield from edits(head)
    yield from dialogue(head)
    yield from roughly()
    yield from film()


def shadings(head) -> Steps:
    """Every shading with a cube before half of the face and a plate behind."""
    scene = bpy.context.scene
    space = area().spaces.active
    bpy.ops.mesh.primitive_cube_add(size=0.12, location=(0.09, -0.22, 0.02), rotation=(0.3, 0.2, 0.5))
    cube = bpy.context.active_object
    bpy.ops.mesh.primitive_torus_add(
        major_radius=0.13, minor_radius=0.012, location=(0, 0, -0.05), rotation=(0.2, 0, 0)
    )
    ring = bpy.context.active_object
    bpy.ops.mesh.primitive_plane_add(size=3, location=(0, 0.5, 0), rotation=(1.5708, 0, 0))
    wall = bpy.context.active_object
    for ob, colour in ((cube, (0.8, 0.1, 0.05, 1)), (ring, (0.05, 0.3, 0.8, 1)), (wall, (0.5, 0.5, 0.45, 1))):
        material = bpy.data.materials.new(ob.name)
        material.use_nodes = True
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = colour
        material.diffuse_color = colour
        ob.data.materials.append(material)
        ob.select_set(False)
    light = bpy.data.objects.new("Light", bpy.data.lights.new("Light", "AREA"))
    light.data.energy, light.data.size = 15, 0.4
    light.location, light.rotation_euler = (0.5, -0.9, 0.7), (0.95, 0, 0.5)
    scene.collection.objects.link(light)
    head.select_set(True)
    bpy.context.view_layer.objects.active = head
    for name, shading, engine in (
        ("05_solid_with_meshes", "SOLID", "BLENDER_EEVEE_NEXT"),
        ("06_material_preview", "MATERIAL", "BLENDER_EEVEE_NEXT"),
        ("07_eevee", "RENDERED", "BLENDER_EEVEE_NEXT"),
        ("08_cycles", "RENDERED", "CYCLES"),
        ("09_loquent", "RENDERED", "LOQUENT"),
        ("10_wireframe", "WIREFRAME", "LOQUENT"),
    ):
        with suppress(TypeError):
            scene.render.engine = engine
        if engine == "BLENDER_EEVEE_NEXT" and scene.render.engine != engine:
            scene.render.engine = "BLENDER_EEVEE"
        scene.cycles.preview_samples = 4
        show(shading)
        around(0.5, -0.12, 1.1, (0, 0, 0.0))
        yield 3.0 if engine == "CYCLES" else 0.6
        picture(name)
    scene.render.engine = "LOQUENT"
    space.overlay.show_overlays = False
    show("SOLID")
    yield 0.3
    picture("11_no_overlays")
    space.overlay.show_overlays = True

    # orthographic, from the side; then the camera's view
    show("RENDERED", axis="RIGHT", persp="ORTHO", zoom=0.8)
    yield 0.3
    picture("12_orthographic")
    show("SOLID", axis="RIGHT", persp="ORTHO", zoom=0.8)
    yield 0.3
    picture("13_orthographic_solid")
    camera = module("scene").place_camera(scene, head)
    space.region_3d.view_perspective = "CAMERA"
    space.shading.type = "SOLID"
    cube.hide_set(True)
    with inside():
        bpy.ops.view3d.view_center_camera()
    yield 0.3
    picture("14_camera")
    space.region_3d.view_perspective = "PERSP"
    camera.hide_viewport = True
    with inside():
        bpy.ops.view3d.localview()
    show("SOLID")
    yield 1.0
    picture("15_local_view")
    with inside():
        bpy.ops.view3d.localview()
    yield 1.0
    for ob in (cube, ring, wall, light):
        ob.hide_viewport = ob.hide_render = True
    show("SOLID")
    report["redraw_ms"] = redraw_ms()
    head.select_set(False)
    report["redraw_unselected_ms"] = redraw_ms()
    avatar, head.loquent.avatar = head.loquent.avatar, ""
    head.update_tag()
    bpy.context.view_layer.update()
    report["redraw_proxy_ms"] = redraw_ms()
    picture("18_proxy_alone")
    head.loquent.avatar = avatar
    head.update_tag()
    bpy.context.view_layer.update()
    head.select_set(True)
    show("RENDERED")
    yield 0.3
    picture("18_rendered")
    # turned, scaled, mirrored
    head.rotation_euler, head.scale = (0.2, 0.3, 0.6), (1.0, 0.7, 1.3)
    show("SOLID")
    yield 0.3
    picture("16_transformed")
    head.rotation_euler, head.scale = (0, 0, 0), (1, 1, 1)
    # a parent's move, a clipping region, hiding by eye and by collection
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    head.parent = parent
    parent.location, parent.rotation_euler, parent.scale = (0.1, 0, 0.05), (0, 0.4, -0.5), (0.6, 0.6, 0.6)
    yield 0.3
    picture("19_parented")
    bpy.data.objects.remove(parent)
    head.matrix_world = Matrix()
    show("SOLID")
    yield 0.2
    view = region(area())
    with inside():
        bpy.ops.view3d.clip_border(xmin=0, xmax=view.width // 2, ymin=0, ymax=view.height)
    yield 0.3
    picture("13_clipping_region")
    space.region_3d.use_clip_planes = False
    hidden = report["shown"] = {"all": shown()}
    head.hide_set(True)
    yield 0.3
    hidden["by_eye"] = shown()
    picture("17_hidden")
    head.hide_set(False)
    layer = bpy.context.view_layer.layer_collection.children[0]
    layer.hide_viewport = True
    yield 0.1
    hidden["by_collection"] = shown()
    layer.hide_viewport = False
    layer.exclude = True
    yield 0.1
    hidden["collection_excluded"] = shown()
    layer.exclude = False
    yield 0.1
    hidden["back"] = shown()
    head.select_set(True)
    bpy.context.view_layer.objects.active = head
    # the control rig stands before the face
    with inside():
        bpy.ops.loquent.add_rig()
    bpy.context.view_layer.objects.active = head
    for shading in ("SOLID", "RENDERED"):
        show(shading)
        yield 0.3
        picture(f"23_rig_{shading.lower()}")
    with inside():
        bpy.ops.loquent.remove_rig()
    space.shading.type = "SOLID"


def edits(head) -> Steps:
    """A key is changed, the line spoken again; the change stays."""
    action = head.animation_data.action
    path = "loquent.motion.browInnerUp"
    curves = action.fcurves if hasattr(action, "fcurves") else action.layers[0].strips[0].channelbags[0].fcurves
    curve = next(c for c in curves if c.data_path == path)
    key = curve.keyframe_points[len(curve.keyframe_points) // 2]
    key.co.y = 0.9
    curve.update()
    frame = int(key.co.x)
    bpy.context.scene.frame_set(frame)
    report["edited"] = frame, head.loquent.motion.browInnerUp
    show("SOLID")
    yield 0.3
    picture("21_key_edited")
    yield from speak()
    bpy.context.scene.frame_set(frame)
    report["after_speaking_again"] = head.loquent.motion.browInnerUp
    picture("22_spoken_again")


def scrub() -> Steps:
    """The mouse drags through the timeline and lets go."""
    editor = area("DOPESHEET_EDITOR")
    view = region(editor)
    y = view.y + view.height - 8
    where = [view.x + int(view.view2d.view_to_region(frame, 0, clip=False)[0]) for frame in (60, 80, 100)]
    event("MOUSEMOVE", "NOTHING", where[0], y)
    event("LEFTMOUSE", "PRESS", where[0], y)
    for x in where:
        yield 0.2
        event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.3
    report["scrubbed_to"] = bpy.context.scene.frame_current
    report["coarse_while_scrubbing"] = window().screen.is_scrubbing and bpy.app.timers.is_registered(
        module("viewport")._sharpen
    )
    picture("24_scrubbing")
    event("LEFTMOUSE", "RELEASE", where[-1], y)
    yield 2.0
    report["coarse_afterwards"] = bpy.app.timers.is_registered(module("viewport")._sharpen)
    picture("25_scrubbed")


def dialogue(head) -> Steps:
    scene = bpy.context.scene
    head.location, head.rotation_euler = (-0.2, 0, 0), (0, 0, 0.5)
    scene.cursor.location = (0.2, 0.05, 0)
    with inside():
        bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="bruno")
    second = bpy.context.active_object
    second.rotation_euler = (0, 0, -0.5)
    second.loquent.sound, second.loquent.start = VOICE2, 60
    yield from speak()
    scene.frame_set(80)
    space = area().spaces.active
    space.shading.type = "SOLID"
    around(0, 0, 1.25, (0, 0, 0.03))
    yield 0.3
    picture("30_dialogue")
    space.shading.type = "RENDERED"
    around(1.1, -0.1, 1.1, (0, 0, 0.03))
    yield 0.3
    picture("31_dialogue_overlapping")
    with inside():
        bpy.ops.object.select_all(action="DESELECT")
    head.select_set(True)
    bpy.context.view_layer.objects.active = head
    with inside():
        bpy.ops.object.duplicate_move_linked(
            OBJECT_OT_duplicate={"linked": True}, TRANSFORM_OT_translate={"value": (0, 0, 0.0)}
        )
    copy = bpy.context.active_object
    copy.location = (0, 0.5, 0)
    around(0, -0.1, 1.6, (0, 0.1, 0.03))
    space.shading.type = "SOLID"
    yield 0.3
    picture("32_linked_duplicate")
    report["heads"] = [ob.name for ob in heads()]
    bpy.data.objects.remove(copy)


def roughly() -> Steps:
    """What nobody plans: other shadings and heads gone while it plays, undo, quad view, a second window."""
    scene, space = bpy.context.scene, area().spaces.active
    around(0, -0.1, 1.6, (0, 0.1, 0.03))
    bpy.ops.ed.undo_push(message="before")
    with inside():
        bpy.ops.loquent.add_head("EXEC_DEFAULT", avatar="ada")
        bpy.ops.ed.undo_push(message="added")
    bpy.context.active_object.location.z = 0.4
    scene.frame_set(1)
    with inside():
        bpy.ops.screen.animation_play()
    for shading in ("MATERIAL", "RENDERED", "SOLID"):
        yield 1.0
        space.shading.type = shading
    yield 0.5
    bpy.data.objects.remove(bpy.context.active_object)
    yield 1.0
    report["playing_on_without_it"] = window().screen.is_animation_playing
    with inside():
        bpy.ops.screen.animation_cancel(restore_frame=False)
    bpy.ops.ed.undo_push(message="removed")
    counts = [len(heads())]
    for turn in (bpy.ops.ed.undo, bpy.ops.ed.undo, bpy.ops.ed.redo, bpy.ops.ed.redo):
        turn()
        yield 0.3
        counts.append(len(heads()))
    report["heads_with_undo_and_redo"] = counts
    with inside():
        bpy.ops.screen.region_quadview()
    yield 0.5
    picture("33_quad_view")
    with inside():
        bpy.ops.screen.region_quadview()
    bpy.ops.wm.window_new()
    yield 1.0
    report["windows"] = len(bpy.context.window_manager.windows)
    picture("34_two_windows")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
        bpy.ops.wm.window_close()
    yield 0.3


def film() -> Steps:
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 960, 540
    scene.camera.location, scene.camera.rotation_euler, scene.camera.data.lens = (0, -1.5, 0), (1.5708, 0, 0), 60
    scene.frame_set(80)
    yield from render(run, "40_f12")
    path = OUT / "session.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    report["blend_mb"] = path.stat().st_size / 1e6
    bpy.ops.wm.open_mainfile(filepath=str(path))
    yield 1.0
    report["heads_after_reload"] = [ob.name for ob in heads()]
    bpy.context.scene.frame_set(80)
    yield 0.3
    picture("50_reloaded")


run.begin(session())
