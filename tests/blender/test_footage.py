# SPDX-License-Identifier: GPL-3.0-or-later
"""A head back in its film: camera and nodes as the film was, and the frames that an inpainter makes."""

import json
from dataclasses import replace
from fractions import Fraction

import bpy
import numpy as np
import pytest
from PIL import Image

from loquent.addon import compositor, convert, footage
from loquent.core.capture.track import Track, save_track
from loquent.core.errors import Cancelled
from loquent.core.geometry.cameras import Camera, look_at
from loquent.core.head.motion import CHANNELS, INDEX, Motion
from loquent.core.splats.avatar import save_avatar
from loquent.core.splats.inpainter import cut, hole
from loquent.core.splats.plate import Plate

from .pictures import render_passes
from .test_compositor import composite
from .waiting import wait_for

av = pytest.importorskip("av", reason="films are written by PyAV (extra 'demo')")
COUNT, WIDTH, HEIGHT, RATE = 6, 96, 64, 25
ADDED = np.array([0.3, 0.1, 0.0], np.float32)


# ---- an inpainter without torch or onnx: it adds one colour everywhere


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def part(number: int, value) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(part(1, side) for side in values.shape)
    return dims + part(2, 1) + part(8, name) + part(9, values.astype("<f4").tobytes())


def port(name: str, channels: int) -> bytes:
    shape = b"".join(part(1, part(1, side)) for side in (1, channels, HEIGHT, WIDTH))
    return part(1, name) + part(2, part(1, part(1, 1) + part(2, shape)))


def network() -> bytes:
    node = part(1, "render") + part(1, "weight") + part(1, "bias") + part(2, "residual") + part(4, "Conv")
    graph = part(1, node) + part(2, "tiny")
    graph += part(5, tensor("weight", np.zeros((3, 4, 1, 1), np.float32))) + part(5, tensor("bias", ADDED))
    graph += b"".join(part(11, port(*entry)) for entry in (("render", 4), ("frame", 3), ("mask", 1)))
    graph += part(12, port("residual", 3))
    about = part(14, part(1, "loquent") + part(2, json.dumps({"size": [HEIGHT, WIDTH]})))
    return part(1, 8) + part(7, graph) + part(8, part(1, "") + part(2, 17)) + about


# ---- a film and a head that was made from it


def picture(k: int) -> np.ndarray:
    """(H, W, 3) sRGB: a slope from left to right, another grey in every frame; H.264 keeps it nearly."""
    x = np.linspace(0.2, 0.6, WIDTH, dtype=np.float32)
    return np.broadcast_to((x * (0.7 + 0.06 * k))[None, :, None], (HEIGHT, WIDTH, 3))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "talk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.round(picture(k) * 255).astype(np.uint8).copy(), "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plate() -> Plate:
    camera = look_at((0.02, 0, 0.9), (0, 0, 0), width=WIDTH, height=HEIGHT)
    k = camera.K.copy()
    k[0, 2], k[1, 2] = k[0, 2] + 4, k[1, 2] - 3  # a film that was cropped off its centre
    values = np.zeros((COUNT, len(CHANNELS)), np.float32)
    values[:, INDEX["headYaw"]] = np.linspace(-0.3, 0.3, COUNT)
    values[:, INDEX["jawOpen"]] = 0.5
    return Plate(Camera(camera.world_to_camera, k, WIDTH, HEIGHT), Motion(RATE, values), "talk.mp4")


@pytest.fixture
def actor(scene, tiny_avatar, tmp_path):
    """The tiny head with plate and inpainter, moved and turned in the scene, active."""
    from loquent.addon.scene import build_head_object

    save_avatar(replace(tiny_avatar, plate=plate(), inpainter=network()), tmp_path / "talker.loq")
    ob = build_head_object(scene, str(tmp_path / "talker.loq"))
    ob.location, ob.rotation_euler, ob.scale = (0.4, -0.2, 1.3), (0.1, 0.2, 0.7), (2, 2, 2)
    ob.select_set(True)
    bpy.context.view_layer.objects.active = ob
    bpy.context.view_layer.update()
    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    return ob


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def refused(call, said: str, **settings) -> None:
    with pytest.raises(RuntimeError, match=said):
        call(**settings)


def test_the_scene_is_as_the_film_was_wherever_the_head_stands(scene, actor, film):
    scene.view_settings.view_transform = "AgX"
    assert bpy.ops.loquent.head_over_footage(filepath=str(film)) == {"FINISHED"}
    assert convert.picture_size(scene) == (WIDTH, HEIGHT) and convert.frames_per_second(scene) == RATE
    assert (scene.frame_start, scene.frame_end) == (1, COUNT) and scene.view_settings.view_transform == "Standard"
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    found = footage._camera_of(depsgraph, scene, actor, WIDTH, HEIGHT)
    wanted = plate().camera
    assert np.allclose(found.world_to_camera, wanted.world_to_camera, atol=1e-4)
    assert np.allclose(found.K, wanted.K, rtol=1e-4, atol=0.02)
    behind = scene.camera.data.background_images[0]
    assert behind.image.source == "MOVIE" and scene.camera.data.show_background_images
    # without a take the head does what it did in the film
    scene.frame_set(COUNT)
    assert actor.loquent.motion.headYaw == pytest.approx(0.3, abs=0.02)


def test_a_render_is_the_head_over_the_film_and_a_second_press_adds_nothing(scene, actor, film, tmp_path):
    for _ in range(2):
        bpy.ops.loquent.head_over_footage(filepath=str(film))
    tree = compositor.tree_of(scene)
    names = [node.name for node in tree.nodes]
    assert sum(name.startswith(footage.FILM_NODE) for name in names) == 1
    assert sum(name.startswith(footage.OVER_NODE) for name in names) == 1
    assert len([ob for ob in scene.objects if ob.type == "CAMERA"]) == 1
    scene.frame_set(3)
    finished = composite(scene, tmp_path)
    alone = render_passes(scene, tmp_path)["Combined"]
    expected = alone[..., :3] + (1 - alone[..., 3:]) * linear(picture(2))
    assert alone[..., 3].max() > 0.9 and np.abs(finished[..., :3] - expected).mean() < 0.006
    assert np.abs(finished[..., :3] - expected).max() < 0.05


def test_the_users_nodes_stay_between_head_and_film(scene, actor, film):
    tree = compositor.tree_of(scene)
    layers = next(n for n in tree.nodes if n.type == "R_LAYERS")
    mine = tree.nodes.new("CompositorNodeExposure")
    tree.links.new(layers.outputs["Image"], mine.inputs["Image"])
    tree.links.new(mine.outputs[0], compositor.output_of(tree))
    bpy.ops.loquent.head_over_footage(filepath=str(film))
    over = tree.nodes[footage.OVER_NODE]
    front = [s for s in over.inputs if s.type == "RGBA"][1]
    assert front.links[0].from_node == mine and mine.inputs["Image"].links[0].from_node == layers


def test_a_take_keeps_its_lips_and_gets_the_films_turns(scene, actor, film):
    values = np.zeros((COUNT, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]] = np.linspace(0, 1, COUNT)
    values[:, INDEX["headYaw"]] = 0.7
    footage.timeline.apply_motion(scene, actor, Motion(convert.frames_per_second(scene), values), 1, "Speak")
    scene.render.fps = RATE
    bpy.ops.loquent.head_over_footage(filepath=str(film))
    scene.frame_set(COUNT)
    assert actor.loquent.motion.headYaw == pytest.approx(0.3, abs=0.02)
    assert actor.loquent.motion.jawOpen == pytest.approx(1, abs=0.05)
    action = actor.animation_data.action
    bpy.ops.loquent.head_over_footage(filepath=str(film), performance="KEEP")
    assert actor.animation_data.action == action


def test_inpainted_frames_are_the_film_outside_and_lead_to_the_output(scene, actor, film, tmp_path):
    bpy.ops.loquent.head_over_footage(filepath=str(film))
    scene.frame_start, scene.frame_end = 2, 4
    folder = tmp_path / "frames"
    assert bpy.ops.loquent.inpaint_footage(directory=str(folder)) == {"FINISHED"}
    assert sorted(path.name for path in folder.iterdir()) == [f"inpainted_{k:05d}.png" for k in (2, 3, 4)]
    from loquent.core.splats.avatar import load_avatar, performer

    head = performer(load_avatar(actor.loquent.avatar))
    there = cut(head, plate().motion.values[2], plate().camera, threads=1)
    mask = hole(there.cover)
    inside = np.clip(there.render[..., :3] + ADDED, 0, 1)
    frame = np.asarray(picture(2))
    with Image.open(folder / "inpainted_00003.png") as file:
        assert file.info["Loquent Heads"] == "tiny (nothing is stated about person and consent)"
        file.verify()
    image = bpy.data.images.load(str(folder / "inpainted_00003.png"))
    pixels = np.empty(WIDTH * HEIGHT * 4, np.float32)
    image.pixels.foreach_get(pixels)
    made = pixels.reshape(HEIGHT, WIDTH, 4)[::-1, :, :3]
    # the drawn head follows keys that are 0.3 mm exact, so the hole's border may lie half a pixel elsewhere
    assert np.abs(made - frame)[mask == 0].mean() < 0.01 and (mask == 0).mean() > 0.2
    assert np.abs(made - inside)[mask == 1].mean() < 0.03 and (mask == 1).mean() > 0.1
    finished = composite(scene, tmp_path) if scene.frame_set(3) is None else None
    assert np.abs(finished[..., :3] - linear(made)).mean() < 0.004
    tree = compositor.tree_of(scene)
    footage._set_switch(tree.nodes[footage.SWITCH_NODE], False)
    assert np.abs(composite(scene, tmp_path)[..., :3] - linear(made)).mean() > 0.02


def test_a_stopped_inpainting_keeps_its_frames_and_the_scene(scene, actor, film, tmp_path):
    bpy.ops.loquent.head_over_footage(filepath=str(film))
    scene.frame_set(5)
    job = footage.InpaintJob(footage.Request(actor.session_uid, scene.session_uid, tmp_path / "frames", (1, COUNT)))
    try:
        assert not job.poll() and job.fraction == pytest.approx(1 / COUNT)
        job.cancel()
        with pytest.raises(Cancelled, match=f"after 1 of {COUNT} frames"):
            job.poll()
    finally:
        job.close()
    assert len(list((tmp_path / "frames").iterdir())) == 1 and scene.frame_current == 5
    assert not footage.jobs.running() and "Loquent Film" not in bpy.data.textures


def test_an_undo_meanwhile_does_not_stop_the_frames(scene, actor, film, tmp_path):
    bpy.ops.loquent.head_over_footage(filepath=str(film))
    bpy.ops.ed.undo_push(message="over footage")
    job = footage.InpaintJob(footage.Request(actor.session_uid, scene.session_uid, tmp_path / "frames", (1, 3)))
    try:
        assert not job.poll()
        bpy.context.scene.render.use_border = True
        bpy.ops.ed.undo_push(message="something else")
        bpy.ops.ed.undo()
        wait_for(job)
    finally:
        job.close()
    assert len(list((tmp_path / "frames").iterdir())) == 3


def test_one_undo_takes_all_of_it_back(scene, actor, film):
    name = actor.name
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.loquent.head_over_footage(filepath=str(film))
    bpy.ops.ed.undo_push(message="after")
    assert bpy.context.scene.render.resolution_y == HEIGHT and bpy.context.scene.camera is not None
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert scene.camera is None and not bpy.data.objects[name].loquent.footage
    assert bpy.data.objects[name].animation_data is None or bpy.data.objects[name].animation_data.action is None


def test_what_is_missing_is_said_in_one_sentence_and_nothing_is_changed(scene, actor, film, tmp_path, tiny):
    call = bpy.ops.loquent.head_over_footage
    refused(
        call,
        r"The head's film is missing: '.*gone\.mp4' is not there\. Choose 'talk\.mp4'",
        filepath=str(tmp_path / "gone.mp4"),
    )
    refused(call, "film is missing: no film is chosen")
    (tmp_path / "text.mp4").write_text("no film")
    refused(call, "is not the head's film", filepath=str(tmp_path / "text.mp4"))
    other = bpy.data.images.new("o", 40, 40)
    other.filepath_raw, other.file_format = str(tmp_path / "square.png"), "PNG"
    other.save()
    refused(call, "expected one of 96 x 64 pixels", filepath=str(tmp_path / "square.png"))
    assert scene.camera is None and scene.render.resolution_x == 96 and not actor.loquent.footage
    assert not bpy.ops.loquent.inpaint_footage.poll()
    actor.loquent.footage = str(film)
    refused(bpy.ops.loquent.inpaint_footage, "Press Head over Its Footage first", directory=str(tmp_path / "f"))
    actor.loquent.footage = ""
    call(filepath=str(film))
    refused(bpy.ops.loquent.inpaint_footage, "No folder is chosen")
    scene.frame_start = scene.frame_end = 40
    refused(bpy.ops.loquent.inpaint_footage, "The film lies between frames 1 and 6", directory=str(tmp_path / "f"))
    actor.loquent.footage = str(tmp_path / "gone.mp4")
    scene.frame_start = 1
    refused(bpy.ops.loquent.inpaint_footage, "film is missing", directory=str(tmp_path / "f"))


def test_a_head_without_a_film_takes_a_track_of_one(scene, tiny, film, tmp_path, tiny_avatar):
    from loquent.addon.scene import build_head_object

    ob = build_head_object(scene, tiny)
    bpy.context.view_layer.objects.active = ob
    refused(bpy.ops.loquent.head_over_footage, "does not know its camera. Name a track", filepath=str(film))
    found = plate()
    track = Track(
        np.zeros(1, np.float32), found.camera, found.motion, np.ones(COUNT, np.float32),
        np.zeros((COUNT, 478, 2), np.float32), tiny_avatar.head_id, "talk.mp4",
    )  # fmt: skip
    save_track(track, tmp_path / "talk.track")
    bpy.ops.loquent.head_over_footage(filepath=str(film), track=str(tmp_path / "talk.track"))
    assert scene.camera is not None and scene.frame_end == COUNT
    refused(
        bpy.ops.loquent.inpaint_footage, "has no inpainter", directory=str(tmp_path), track=str(tmp_path / "talk.track")
    )
