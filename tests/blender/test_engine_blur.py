# SPDX-License-Identifier: GPL-3.0-or-later
"""What is averaged (lens, shutter), what is drawn twice (stereo), and what may stop: a picture in several samples."""

import bpy
import numpy as np
import pytest

from loquent.addon import picture, sampling
from loquent.addon.engine import LoquentRenderEngine

from .pictures import psnr, render_channels, render_passes


def slide(ob, metres=0.06):
    """From left to right through the origin, frame 1 to 11, at even speed."""
    for frame, x in ((1, -metres / 2), (11, metres / 2)):
        ob.location.x = x
        ob.keyframe_insert("location", frame=frame)
    action, slot = ob.animation_data.action, ob.animation_data.action_slot
    for curve in action.layers[0].strips[0].channelbag(slot).fcurves:
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"


def as_multilayer(scene):
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"


def at(scene, frame, folder):
    """A sharp picture at a frame with a fraction."""
    blur, scene.render.use_motion_blur = scene.render.use_motion_blur, False
    scene.frame_set(int(frame // 1), subframe=frame % 1)
    found = render_passes(scene, folder)["Combined"]
    scene.render.use_motion_blur = blur
    return found


@pytest.mark.parametrize(("position", "begin"), [("CENTER", -0.5), ("START", 0.0), ("END", -1.0)])
def test_motion_blur_is_the_mean_of_the_moments_of_the_shutter(scene, head, tmp_path, position, begin):
    slide(head)
    render = scene.render
    render.motion_blur_shutter, render.motion_blur_position = 0.8, position
    scene.loquent_render.motion_samples = 4
    moments = [at(scene, 6 + 0.8 * (begin + (k + 0.5) / 4), tmp_path) for k in range(4)]
    render.use_motion_blur = True
    blurred = render_passes(scene, tmp_path, 6)["Combined"]
    assert np.allclose(blurred, np.mean(moments, 0), atol=2e-6)
    assert psnr(blurred, moments[0]) < 45
    assert (scene.frame_current, scene.frame_subframe) == (6, 0)


def test_a_moving_camera_blurs_and_a_still_shot_does_not(scene, head, tmp_path):
    scene.render.use_motion_blur = True
    scene.loquent_render.motion_samples = 3
    still = render_passes(scene, tmp_path, 6)["Combined"]
    scene.render.use_motion_blur = False
    assert np.allclose(still, render_passes(scene, tmp_path)["Combined"], atol=1e-6)
    slide(scene.camera, 0.2)
    scene.render.use_motion_blur = True
    assert psnr(render_passes(scene, tmp_path, 6)["Combined"], at(scene, 6, tmp_path)) < 45


def test_motion_is_blurred_as_the_shutter_curve_says(scene, head, tmp_path):
    slide(head)
    render = scene.render
    render.use_motion_blur, render.motion_blur_shutter = True, 1.0
    scene.loquent_render.motion_samples = 4
    curve = render.motion_blur_shutter_curve
    for point, value in zip(curve.curves[0].points, (1.0, 0.0), strict=False):
        point.location.y = value
    while len(curve.curves[0].points) > 2:
        curve.curves[0].points.remove(curve.curves[0].points[1])
    curve.curves[0].points[0].location = (0, 1)
    curve.curves[0].points[-1].location = (1, 0)
    curve.update()
    shutter = sampling.shutter_of(render, 4)
    assert shutter.weights[0] > shutter.weights[1] > shutter.weights[3] and sum(shutter.weights) == pytest.approx(1)
    blurred = render_passes(scene, tmp_path, 6)["Combined"]
    moments = [at(scene, 6 + t, tmp_path) for t in shutter.times]
    assert np.allclose(blurred, np.tensordot(shutter.weights, moments, 1), atol=2e-6)


def test_depth_of_field_leaves_what_is_in_focus_and_blurs_the_rest(scene, head, tmp_path):
    head.loquent.avatar = "bruno"
    bpy.context.view_layer.use_pass_z = True
    sharp = render_passes(scene, tmp_path)
    dof = scene.camera.data.dof
    dof.use_dof, dof.aperture_fstop = True, 1.0
    scene.loquent_render.lens_samples = 64
    middle = sharp["Depth"][30, 48]
    dof.focus_distance = float(middle)
    focused = render_passes(scene, tmp_path)["Combined"]
    dof.focus_distance = float(middle) * 0.6
    blurred = render_passes(scene, tmp_path)["Combined"]

    def detail(image):
        return np.abs(np.diff(image[24:40, 40:56, :3], axis=1)).mean()

    assert detail(focused) > 0.85 * detail(sharp["Combined"]) > 2 * detail(blurred)
    inner = (slice(8, 56), slice(16, 80))
    assert blurred[inner][..., 3].sum() == pytest.approx(sharp["Combined"][inner][..., 3].sum(), rel=0.05)
    dof.aperture_fstop = 500.0  # a pinhole: drawn once
    assert np.array_equal(render_passes(scene, tmp_path)["Combined"], sharp["Combined"])


def test_a_point_out_of_focus_is_as_large_as_optics_say(scene, head, tmp_path):
    """The picture is moved by as much as the circle of confusion: measured on cameras through the rim of the lens."""
    from loquent.addon import convert

    data = scene.camera.data
    data.dof.use_dof, data.dof.aperture_fstop, data.dof.focus_distance = True, 2.0, 2.0
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for kind in ("PERSP", "ORTHO"):
        data.type, data.ortho_scale = kind, 0.5
        depsgraph.update()
        camera, back = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), 96, 64)
        lens = sampling.lens_of(scene.camera.evaluated_get(depsgraph), camera.world_to_camera)
        assert lens is not None
        rim = sampling.through(camera, lens, np.array([lens.radius, 0.0]), back)

        def column(seen, depth, camera=camera, back=back):
            """Where a point straight before the camera, at that depth, is seen: pixels from the left."""
            moved = seen.world_to_camera[0, 3] - camera.world_to_camera[0, 3]
            return seen.K[0, 0] * moved / (depth + back) + seen.K[0, 2]

        assert column(rim, 2.0) == pytest.approx(column(camera, 2.0), abs=1e-3)
        if kind == "PERSP":
            expected = data.lens / data.sensor_width * 96 * lens.radius * (1 / 2.0 - 1 / 1.0)
            assert lens.radius == pytest.approx(data.lens * 1e-3 / 4)
        else:
            expected = 96 / 0.5 * lens.radius * (1.0 - 2.0) / 2.0
        assert column(rim, 1.0) - column(camera, 1.0) == pytest.approx(expected, rel=0.02)


def test_blades_and_anamorphic_lenses_shape_the_blur(scene):
    lens = sampling.Lens(1.0, 1.0, blades=3, rotation=np.pi / 2)
    points = sampling.lens_points(lens, 4000)
    assert np.abs(points.mean(0)).max() < 1e-9
    corners = np.stack(
        [np.cos(np.pi / 2 + 2 * np.pi * np.arange(3) / 3), np.sin(np.pi / 2 + 2 * np.pi * np.arange(3) / 3)]
    )
    assert (points @ -corners).max() < 0.53  # inside all three sides, which are half a radius away
    round_ = sampling.lens_points(sampling.Lens(2.0, 1.0, ratio=2.0), 4000)
    assert round_[:, 0].std() == pytest.approx(0.5, rel=0.02) and round_[:, 1].std() == pytest.approx(1.0, rel=0.02)


def test_focus_goes_to_an_object_and_to_its_bone(scene, head):
    target = bpy.data.objects.new("Target", None)
    scene.collection.objects.link(target)
    target.location = scene.camera.location
    target.location.y += 1.25
    target.location.x += 0.4  # along the view, not the distance
    data = scene.camera.data
    data.dof.use_dof, data.dof.focus_object = True, target
    from loquent.addon import convert

    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera = scene.camera.evaluated_get(depsgraph)
    core, _ = convert.render_camera(depsgraph, camera, 96, 64)
    assert sampling.lens_of(camera, core.world_to_camera).focus == pytest.approx(1.25, abs=1e-4)


def test_lens_and_shutter_blur_together(scene, head, tmp_path):
    slide(head)
    data = scene.camera.data
    data.dof.use_dof, data.dof.aperture_fstop, data.dof.focus_distance = True, 0.7, 0.4
    scene.render.use_motion_blur = True
    scene.loquent_render.lens_samples, scene.loquent_render.motion_samples = 12, 4
    blurred = render_passes(scene, tmp_path, 6)["Combined"]
    assert np.isfinite(blurred).all() and 0.5 < blurred[..., 3].max() <= 1
    assert np.array_equal(blurred, render_passes(scene, tmp_path, 6)["Combined"])


def test_stereo_draws_each_eye_from_its_place(scene, head, tmp_path):
    """Each view is what its camera sees alone, with its own shift: compared with a camera put there."""
    bpy.context.view_layer.use_pass_z = True
    scene.render.use_multiview = True
    as_multilayer(scene)
    scene.render.image_settings.views_format = "MULTIVIEW"  # both eyes in one file
    camera = scene.camera
    camera.data.stereo.convergence_mode, camera.data.stereo.interocular_distance = "OFFAXIS", 0.06
    camera.data.stereo.convergence_distance, camera.data.stereo.pivot = 0.8, "CENTER"
    channels = render_channels(scene, tmp_path)
    eyes, depths = {}, {}
    for eye in ("left", "right"):
        eyes[eye] = np.stack([channels[f"ViewLayer.Combined.{eye}.{c}"] for c in "RGBA"], -1)
        depths[eye] = channels[f"ViewLayer.Depth.{eye}.Z"]
    scene.render.use_multiview = False
    middle, shift = camera.location.x, camera.data.sensor_width
    for eye, side in (("left", -1), ("right", 1)):
        camera.location.x = middle + side * 0.03
        camera.data.shift_x = -side * 0.03 / 0.8 * camera.data.lens / shift
        alone = render_passes(scene, tmp_path)
        assert psnr(alone["Combined"], eyes[eye]) > 60, eye
        seen = (alone["Depth"] < 1e9) & (depths[eye] < 1e9)
        assert seen.sum() > 500 and np.abs(alone["Depth"] - depths[eye])[seen].max() < 2e-3
    assert psnr(eyes["left"], eyes["right"]) < 35


def test_the_camera_is_that_of_the_frames_marker(scene, head, tmp_path):
    first = scene.camera
    second = bpy.data.objects.new("Second", first.data)
    second.matrix_world = first.matrix_world
    second.location.x += 0.08
    scene.collection.objects.link(second)
    for name, frame, camera in (("One", 1, first), ("Two", 10, second)):
        scene.timeline_markers.new(name, frame=frame).camera = camera
    one, same, two = (render_passes(scene, tmp_path, frame)["Combined"] for frame in (1, 9, 10))
    assert np.array_equal(one, same) and psnr(one, two) < 30


def test_frames_are_the_same_to_the_byte_in_any_order_and_on_any_threads(scene, head, tmp_path, monkeypatch):
    slide(head)
    layer = bpy.context.view_layer
    for name in ("z", "vector", "normal", "cryptomatte_material"):
        setattr(layer, f"use_pass_{name}", True)
    data = scene.camera.data
    data.dof.use_dof, data.dof.aperture_fstop, data.dof.focus_distance = True, 1.0, 0.5
    scene.loquent_render.lens_samples = 5
    runs = []
    for threads, order in ((1, (3, 4, 5)), (3, (5, 3, 4)), (0, (4, 5, 3))):
        monkeypatch.setattr(picture, "preference", lambda name, default, n=threads: n)
        runs.append({frame: render_channels(scene, tmp_path, frame) for frame in order})
    for frame in (3, 4, 5):
        for run in runs[1:]:
            assert run[frame].keys() == runs[0][frame].keys()
            assert all(np.array_equal(run[frame][name], runs[0][frame][name]) for name in run[frame])


def test_a_film_has_the_bytes_of_its_single_frames(scene, head, tmp_path):
    from .exr import read_exr

    slide(head)
    for frame, yaw in ((4, -0.5), (6, 0.5)):  # a film of what is said has to read the keys anew at every frame
        head.loquent.motion.headYaw = yaw
        head.keyframe_insert("loquent.motion.headYaw", frame=frame)
    bpy.context.view_layer.use_pass_z = True
    scene.render.use_motion_blur, scene.loquent_render.motion_samples = True, 3
    singles = [render_channels(scene, tmp_path, frame) for frame in (4, 5, 6)]
    scene.frame_start, scene.frame_end = 4, 6
    scene.render.filepath = str(tmp_path / "film_####")
    bpy.ops.render.render(animation=True)
    for frame, single in zip((4, 5, 6), singles, strict=True):
        film = read_exr(tmp_path / f"film_{frame:04d}.exr")
        assert film.keys() == single.keys() and all(np.array_equal(film[name], single[name]) for name in single)


class Impatient:
    """The engine, with Esc pressed before it is asked for the n-th time: there is no key to press without a window."""

    def __init__(self, engine, patience):
        self.engine, self.patience, self.asked, self.samples = engine, patience, 0, 0

    def test_break(self):
        self.asked += 1
        return self.asked >= self.patience

    def update_progress(self, share):
        self.samples += 1

    def __getattr__(self, name):
        return getattr(self.engine, name)


@pytest.mark.parametrize("patience", [1, 2, 7, 30])
def test_esc_stops_at_any_sample_and_nothing_is_handed_over(scene, head, tmp_path, monkeypatch, patience):
    """Of 40 samples of lens and shutter. The frame is where it was, and the next render is whole."""
    slide(head)
    data = scene.camera.data
    data.dof.use_dof, data.dof.aperture_fstop, data.dof.focus_distance = True, 0.5, 0.3
    scene.loquent_render.lens_samples, scene.loquent_render.motion_samples = 40, 4
    scene.render.use_motion_blur = True
    whole = render_passes(scene, tmp_path, 6)["Combined"]
    paint, engines = picture.paint, []

    def watched(shot, engine):
        engines.append(Impatient(engine, patience))
        return paint(shot, engines[-1])

    handed = []
    monkeypatch.setattr(LoquentRenderEngine, "_hand_over", lambda *_: handed.append(1))
    monkeypatch.setattr(picture, "paint", watched)
    scene.frame_set(6)
    bpy.ops.render.render()
    assert not handed and engines[0].asked >= patience and engines[0].samples < patience
    assert (scene.frame_current, scene.frame_subframe) == (6, 0)
    monkeypatch.undo()
    assert np.array_equal(render_passes(scene, tmp_path, 6)["Combined"], whole)


def test_esc_stops_all_view_layers_and_both_eyes(scene, head, tmp_path, monkeypatch):
    scene.view_layers.new("Second")
    scene.render.use_multiview = True
    paint, painted = picture.paint, []

    def impatient(shot, engine):
        painted.append(shot.depsgraph.view_layer.name)
        return paint(shot, Impatient(engine, 1))

    monkeypatch.setattr(picture, "paint", impatient)
    bpy.ops.render.render()
    assert painted == ["ViewLayer", "Second"]  # Blender itself goes on to the next layer; the right eyes are not begun


def test_a_running_draw_is_stopped_by_the_flag():
    import time

    from loquent.core.errors import Cancelled

    def slow(flag):
        for _ in range(2000):
            if flag.is_set():
                raise Cancelled("Rendering was stopped.")
            time.sleep(0.005)
        raise AssertionError("not stopped")

    with pytest.raises(Cancelled):
        picture.watched(slow, lambda: True)


def test_an_error_while_drawing_is_the_renders_error(monkeypatch):
    def broken(flag):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        picture.watched(broken, lambda: False)
