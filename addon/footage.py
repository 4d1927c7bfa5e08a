# SPDX-License-Identifier: GPL-3.0-or-later
"""A head back in the film it was made from: camera, size and rate of the film, its pictures behind the head, and the frames
that the head's inpainter makes of both."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core.errors import Cancelled, FormatError, SceneError
from . import compositor, convert, credits, heads, jobs, session, sound, timeline
from .paths import home
from .scene import set_rate

if TYPE_CHECKING:
    from ..core.splats.plate import Plate

CAMERA = "Footage Camera"
SENSOR = 36.0
FILM_NODE, OVER_NODE, INPAINTED_NODE, SWITCH_NODE = "Film", "Head over Film", "Inpainted Film", "Inpainted"
PREVIEW_PIXELS = 400
HEAD_POSE = ("headYaw", "headPitch", "headRoll", "headX", "headY", "headZ", "neckYaw", "neckPitch", "neckRoll")


def plate_of(ob: Any, track: str = "") -> "Plate":
    """What is known of the head's film: in its file, or in a track of the film. Raises SceneError without either."""
    loaded = session.of(ob)
    if track:
        from ..core.capture.track import load_track
        from ..core.splats.plate import Plate

        found = load_track(sound.absolute(track))
        if not loaded.foreign and found.head_id != loaded.performer.avatar.head_id:
            raise SceneError(f"'{Path(track).name}' was captured with another parametric head; track the film again.")
        return Plate(found.camera, found.motion, found.source)
    plate = None if loaded.foreign else loaded.performer.avatar.plate
    if plate is None:
        raise SceneError(
            f"The head '{loaded.name}' was not made from a film, or does not know its camera. Name a track of the film "
            "(loquent track FILM -o FILM.track), or choose a head that was made by Head from Video."
        )
    return plate


def film_file(path: str, plate: "Plate", library: Any = None) -> Path:
    """The film on disk. Raises SceneError where it is not there."""
    file = sound.absolute(path, library) if path else None
    if file is None or not file.is_file():
        named = f"'{file}' is not there" if file else "no film is chosen"
        raise SceneError(
            f"The head's film is missing: {named}. Choose '{plate.source or 'the film it was made from'}'."
        )
    return file


def open_movie(file: Path, plate: "Plate") -> Any:
    """The film as an image of the open file, found again where it is one. Raises SceneError for another film than the
    plate's."""
    known = [i for i in bpy.data.images if i.source == "MOVIE" and sound.absolute(i.filepath, i.library) == file]
    try:
        image = known[0] if known else bpy.data.images.load(sound.spelt(file))
    except RuntimeError as error:
        raise SceneError(f"Blender cannot read '{file}': {error}. Convert it to MP4.") from error
    size, fits = tuple(image.size), image.source == "MOVIE" and image.size[0] > 0
    if fits:
        width, height = plate.size
        fits = abs(size[0] * height - size[1] * width) <= 0.02 * size[1] * width
    if not fits:
        if not known:
            bpy.data.images.remove(image)
        raise SceneError(
            f"'{file.name}' is not the head's film: expected one of {plate.size[0]} x {plate.size[1]} pixels or that shape, found "
            + (f"{size[0]} x {size[1]}." if size[0] else "no film.")
            + (" Films that a phone has turned by a flag must be converted first." if size == plate.size[::-1] else "")
        )
    return image


def set_up(scene: Any, ob: Any, plate: "Plate", film: Path, performance: str = "AUTO") -> list[str]:
    """The scene as the film was: size, rate, length, camera, and the film behind the head in view and render.

    performance: FILM gives the head what it did in the film, HEAD its present take with the film's turns of the head, KEEP
    nothing, AUTO is HEAD where there is a take and FILM where there is none. What to tell the user besides.
    """
    movie = open_movie(film, plate)
    notes = []
    render = scene.render
    render.engine = compositor.ENGINE
    render.resolution_x, render.resolution_y = plate.size
    render.resolution_percentage, render.pixel_aspect_x, render.pixel_aspect_y = 100, 1, 1
    render.film_transparent = True
    set_rate(scene, plate.motion.fps)
    if scene.view_settings.view_transform != "Standard":
        scene.view_settings.view_transform = "Standard"
        notes.append("The view transform is now Standard: a film is finished already.")
    start = ob.loquent.footage_start
    scene.frame_start, scene.frame_end = start, start + len(plate.motion) - 1
    ob.loquent.footage = sound.spelt(film)
    scene.camera = _camera(scene, ob, plate, movie, start)
    _perform(scene, ob, plate, start, performance)
    _composite(scene, movie, start, len(plate.motion))
    return notes


def _camera(scene: Any, ob: Any, plate: "Plate", movie: Any, start: int) -> Any:
    """The film's camera, standing before the head as it stood before the person, with the film as its background."""
    found = next(
        (c for c in bpy.data.objects if c.type == "CAMERA" and c.get("loquent_head") == heads.own_uuid(ob)), None
    )
    if found is None:
        found = bpy.data.objects.new(CAMERA, bpy.data.cameras.new(CAMERA))
        found["loquent_head"] = ob.loquent.uuid
        found.data.clip_start = 0.01
    if found.name not in scene.objects:
        scene.collection.objects.link(found)
    matrix = np.array(ob.matrix_world if ob.parent else ob.matrix_basis, np.float64)
    pose = matrix @ convert.OBJECT_FROM_HEAD @ np.linalg.inv(np.array(plate.camera.world_to_camera, np.float64))
    pose = pose @ np.linalg.inv(convert.OPENCV_FROM_BLENDER)
    pose[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)
    found.matrix_world = Matrix(pose.tolist())
    (width, height), k, data = plate.size, plate.camera.K, found.data
    data.type, data.sensor_fit, data.sensor_width = "PERSP", "HORIZONTAL", SENSOR
    data.lens = float(k[0, 0]) * SENSOR / width
    data.shift_x, data.shift_y = float(width / 2 - k[0, 2]) / width, float(k[1, 2] - height / 2) / width
    data.show_background_images = True
    behind = next((b for b in data.background_images if b.image == movie), None) or data.background_images.new()
    behind.image, behind.alpha, behind.display_depth, behind.frame_method = movie, 1.0, "BACK", "STRETCH"
    _timed(behind.image_user, start, len(plate.motion))
    return found


def _timed(user: Any, start: int, count: int) -> None:
    """A node or image user that shows picture 1 at frame `start`."""
    user.frame_duration, user.frame_start, user.frame_offset = count, start, 0
    user.use_auto_refresh, user.use_cyclic = True, False


def _perform(scene: Any, ob: Any, plate: "Plate", start: int, performance: str) -> None:
    from ..core.head.motion import INDEX, Motion

    data = ob.animation_data
    action = data.action if data else None
    if performance == "KEEP" or (performance == "HEAD" and action is None):
        return
    if performance == "FILM" or action is None:
        timeline.apply_motion(scene, ob, plate.motion, start, "Film")
        return
    values = plate.motion.values.copy()
    kept = [name for name in INDEX if name not in HEAD_POSE]
    now = scene.frame_current
    for k in range(len(values)):
        scene.frame_set(start + k)
        for name in kept:
            values[k, INDEX[name]] = getattr(ob.loquent.motion, name)
    scene.frame_set(now)
    timeline.apply_motion(scene, ob, Motion(plate.motion.fps, values), start, "Over Film")


# ---- compositing


def _composite(scene: Any, movie: Any, start: int, count: int) -> None:
    """The head's render over the film; the user's own nodes stay, the picture passes through ours on its way out."""
    tree = compositor.tree_of(scene)
    output = compositor.output_of(tree)
    node = _node(tree, "CompositorNodeImage", FILM_NODE)
    node.image = movie
    _timed(node, start, count)
    over = _node(tree, "CompositorNodeAlphaOver", OVER_NODE)
    switch = _node(tree, "CompositorNodeSwitch", SWITCH_NODE)
    back, front = [s for s in over.inputs if s.type == "RGBA"]
    off, _ = [s for s in switch.inputs if s.type == "RGBA"]
    head = compositor.layers_node(tree, scene, scene.view_layers[0].name)
    before = output.links[0].from_socket if output.is_linked else head.outputs["Image"]
    if before.node not in (over, switch):
        tree.links.new(before, front)
        output_node = output.node
        for k, mine in enumerate((node, over, switch)):
            mine.location = (output_node.location.x - 260 * (2 - k) - 40, output_node.location.y - 320)
    elif not front.is_linked:
        tree.links.new(head.outputs["Image"], front)
    tree.links.new(node.outputs["Image"], back)
    tree.links.new(over.outputs[0], off)
    tree.links.new(switch.outputs[0], output)
    scene.render.use_compositing = True


def show_inpainted(scene: Any, first: Path, start: int, count: int) -> None:
    """Lead a sequence of finished frames to the output, where Head over Its Footage put the switch."""
    tree = compositor.tree_of(scene)
    switch = tree.nodes.get(SWITCH_NODE)
    if switch is None:
        raise SceneError("The compositing tree has no 'Inpainted' switch. Press Head over Its Footage again.")
    node = _node(tree, "CompositorNodeImage", INPAINTED_NODE)
    image = bpy.data.images.load(sound.spelt(first), check_existing=True)
    image.source = "SEQUENCE"
    node.image = image
    _timed(node, start, count)
    node.frame_offset = _number(first) - 1
    node.location = (switch.location.x - 260, switch.location.y - 300)
    _, on = [s for s in switch.inputs if s.type == "RGBA"]
    tree.links.new(node.outputs["Image"], on)
    _set_switch(switch, True)


def _number(file: Path) -> int:
    return int(file.stem.rsplit("_", 1)[-1])


def _set_switch(switch: Any, on: bool) -> None:
    if hasattr(switch, "check"):
        switch.check = on
    else:  # 5.x
        next(s for s in switch.inputs if s.type == "BOOLEAN").default_value = on


def _node(tree: Any, kind: str, name: str) -> Any:
    found = tree.nodes.get(name)
    if found is not None and found.bl_idname == kind:
        return found
    node = tree.nodes.new(kind)
    node.name = node.label = name
    return node


# ---- the film's pictures


class Pictures:
    """The pictures of a movie, one by one, as floats. A context manager.

    Blender gives a script no way to ask an image for a frame. But sampling a texture of it loads the frame that the texture's
    user asks for, and the image's pixels are then that frame's: about 10 ms forwards, more after a jump.
    """

    NAME = "Loquent Film"

    def __init__(self, movie: Any) -> None:
        self._uid = movie.session_uid  # what Python holds of a datablock does not survive an undo; its number does

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        if texture := bpy.data.textures.get(self.NAME):
            bpy.data.textures.remove(texture)

    def _texture(self, movie: Any) -> Any:
        texture = bpy.data.textures.get(self.NAME) or bpy.data.textures.new(self.NAME, "IMAGE")
        texture.image = movie
        user = texture.image_user
        user.frame_duration, user.frame_start, user.frame_offset = max(movie.frame_duration, 1), 1, 0
        user.use_auto_refresh = False
        return texture

    def picture(self, number: int) -> np.ndarray:
        """(H, W, 3) float32 display sRGB, row 0 on top, of picture `number` (0 is the first). Raises SceneError."""
        movie = jobs.found(bpy.data.images, self._uid, "film")
        texture = self._texture(movie)
        texture.image_user.frame_current = number + 1
        texture.evaluate((0.0, 0.0, 0.0))
        width, height = movie.size
        if not width or not movie.has_data:
            raise SceneError(f"Picture {number + 1} of '{movie.name}' cannot be read. Is the film still there?")
        pixels = np.empty(width * height * movie.channels, np.float32)
        movie.pixels.foreach_get(pixels)
        return np.ascontiguousarray(pixels.reshape(height, width, -1)[::-1, :, :3])


# ---- inpainting


@dataclass(frozen=True)
class Request:
    """Plain values of one inpainting. head, scene: session identifiers. frames: first and last of the scene."""

    head: int
    scene: int
    folder: Path
    frames: tuple[int, int]
    track: str = ""
    threads: int = 0


class InpaintJob:
    """Frames on their way into a folder: each `poll` makes one, True when all are there; `close` in every case.

    In Blender's own process, a few tenths of a second a frame: everything it needs is here, and nothing of torch. title, preview,
    previews: as jobs.WorkerJob has them.
    """

    preview: Any = None

    def __init__(self, request: Request) -> None:
        from ..core.adapt.consent import credit
        from ..core.splats.inpainter import load_inpainter

        self.request, self.warnings = request, []
        ob, scene = self._objects()
        loaded = session.of(ob)
        avatar = None if loaded.foreign else loaded.performer.avatar
        if avatar is None or avatar.inpainter is None:
            raise SceneError(
                f"The head '{loaded.name}' has no inpainter. Make it by Head from Video with Footage on, or render it over the "
                "film as it is."
            )
        if scene.camera is None or not ob.loquent.footage:
            raise SceneError("Press Head over Its Footage first: it sets up camera, film and nodes.")
        self._plate = plate_of(ob, request.track)
        movie = open_movie(film_file(ob.loquent.footage, self._plate, home(ob, "footage")), self._plate)
        start = ob.loquent.footage_start
        first, last = max(request.frames[0], start), min(request.frames[1], start + len(self._plate.motion) - 1)
        if first > last:
            raise SceneError(
                f"The film lies between frames {start} and {start + len(self._plate.motion) - 1}; found {request.frames[0]} to "
                f"{request.frames[1]}. Change the scene's range."
            )
        self._start, self._frames = start, range(first, last + 1)
        self._network = load_inpainter(avatar.inpainter, request.threads)
        self._base = loaded.base.performer if loaded.base else loaded.performer
        self._credit = credit(loaded.name, avatar.about)
        self._done, self._shown, self._stop = 0, scene.frame_current, False
        self.title = ob.name
        try:
            request.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(
                f"Cannot write to '{request.folder}': {error.strerror}. Choose another folder."
            ) from error
        self._pictures = Pictures(movie)
        jobs.begun(self)

    def _objects(self) -> tuple[Any, Any]:
        return jobs.found(bpy.data.objects, self.request.head, "head"), jobs.found(
            bpy.data.scenes, self.request.scene, "scene"
        )

    @property
    def fraction(self) -> float:
        return self._done / len(self._frames)

    @property
    def previews(self) -> int:
        return self._done

    @property
    def stage(self) -> str:
        return "Inpainting the film"

    def path(self, frame: int) -> Path:
        return self.request.folder / f"inpainted_{frame:05d}.png"

    def poll(self) -> bool:
        if self._stop:
            raise Cancelled(
                f"Stopped after {self._done} of {len(self._frames)} frames; those are in '{self.request.folder}'."
            )
        if self._done < len(self._frames):
            frame = self._frames[self._done]
            picture = self.made(frame)
            write_png(picture, self.path(frame), self._credit)
            step = -(-max(picture.shape) // PREVIEW_PIXELS)
            self.preview = np.clip(picture[::step, ::step] * 255, 0, 255).astype(np.uint8)
            self._done += 1
        return self._done == len(self._frames)

    def made(self, frame: int) -> np.ndarray:
        """(H, W, 3) display sRGB: the finished picture of a frame of the scene."""
        from ..core.splats.inpainter import cut, hole

        ob, scene = self._objects()
        scene.frame_set(frame)
        depsgraph = (
            bpy.context.evaluated_depsgraph_get() if bpy.context.scene == scene else scene.view_layers[0].depsgraph
        )
        shown = ob.evaluated_get(depsgraph)
        picture = self._pictures.picture(frame - self._start)
        height, width = picture.shape[:2]
        actor = session.of(shown).performer
        drawn = cut(
            actor,
            convert.channel_values(shown),
            _camera_of(depsgraph, scene, shown, width, height),
            self.request.threads,
        )
        there = cut(
            self._base, self._plate.motion.values[frame - self._start], _scaled(self._plate.camera, width, height),
            self.request.threads,
        )  # fmt: skip
        return self._network(drawn.render, picture, hole(drawn.cover, there.cover))

    def wait(self) -> None:
        time.sleep(0)

    def cancel(self) -> None:
        self._stop = True

    def close(self) -> None:
        self._pictures.__exit__()
        jobs.ended(self)
        try:
            _, scene = self._objects()
        except SceneError:
            return
        scene.frame_set(self._shown)

    def apply(self) -> str:
        _, scene = self._objects()
        show_inpainted(scene, self.path(self._frames[0]), self._frames[0], len(self._frames))
        return f"{len(self._frames)} frames are in '{self.request.folder}' and lead to the compositor's output."


def _camera_of(depsgraph: Any, scene: Any, ob: Any, width: int, height: int) -> Any:
    """The scene's camera in head space, for a picture of this size."""
    from .placing import camera_in, similarity

    camera, _ = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), width, height)
    matrix = convert.world_from_head(ob.matrix_world)
    scale = similarity(matrix)
    if scale is None:
        raise SceneError(f"'{ob.name}' is sheared or scaled unequally; a person in a film is not. Clear its scale.")
    return camera_in(camera, matrix, scale)


def _scaled(camera: Any, width: int, height: int) -> Any:
    from ..core.geometry.cameras import Camera

    k = np.array(camera.K, np.float64)
    k[0] *= width / camera.width
    k[1] *= height / camera.height
    return Camera(camera.world_to_camera, k, width, height)


def write_png(picture: np.ndarray, path: Path, told: str = "") -> None:
    """An 8-bit PNG of (H, W, 3) display sRGB, whole or not at all. told: of its heads, into its metadata."""
    from ..core.files import written_whole

    height, width = picture.shape[:2]
    image = bpy.data.images.new("Loquent Frame", width, height, alpha=False, float_buffer=False)
    try:
        pixels = np.ones((height, width, 4), np.float32)
        pixels[..., :3] = picture[::-1]
        image.pixels.foreach_set(pixels.ravel())
        image.file_format = "PNG"
        with written_whole(path) as temporary:
            image.filepath_raw = os.fspath(temporary)
            try:
                image.save()
                if told:
                    credits.add_to_png(temporary, told)
            except RuntimeError as error:
                raise FormatError(f"Cannot write '{path}': {error}. Is there space left in that folder?") from error
    finally:
        bpy.data.images.remove(image)
