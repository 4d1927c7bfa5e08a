# SPDX-License-Identifier: GPL-3.0-or-later
"""From a film to a head: films of all kinds, interruptions, and what is said where it fails.

The films are drawn here: Ada speaks before a green wall. A stand-in for MediaPipe knows where her landmarks are, and what is not
green is her matte, so that no model is needed.
"""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")
av = pytest.importorskip("av", reason="films are written and read by PyAV")

from loquent.core.adapt import footage, start, video  # noqa: E402
from loquent.core.adapt.consent import Consent  # noqa: E402
from loquent.core.adapt.video import VideoOptions, head_from_video  # noqa: E402
from loquent.core.capture import perform  # noqa: E402
from loquent.core.capture.embedding import load_embedding  # noqa: E402
from loquent.core.capture.landmarker import Face  # noqa: E402
from loquent.core.capture.sound import film_sound  # noqa: E402
from loquent.core.errors import Cancelled, CaptureError, FormatError  # noqa: E402
from loquent.core.geometry.cameras import look_at  # noqa: E402
from loquent.core.head.head import identity, load_head, pose_vertices  # noqa: E402
from loquent.core.head.motion import CHANNELS, INDEX  # noqa: E402
from loquent.core.splats import native  # noqa: E402
from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose, save_avatar  # noqa: E402
from loquent.core.splats.rasterize import rasterize  # noqa: E402

pytestmark = pytest.mark.skipif(native.library() is None, reason="no native library was built here")
AGREED = Consent("Ada, invented", "", synthetic=True)
WIDTH, HEIGHT, FRAMES = 112, 128, 26
GREEN = np.array([0, 177, 64])
NEAR = look_at((0, 0.02, 0.95), (0, 0.0, 0), fov_y=0.45, width=WIDTH, height=HEIGHT)
FAR = look_at((0.12, 0.0, 1.05), (0.01, 0.0, 0), fov_y=0.45, width=WIDTH, height=HEIGHT)


def acted() -> np.ndarray:
    at = np.arange(FRAMES) / 8
    values = np.zeros((FRAMES, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]] = 0.2 * (1 - np.cos(5 * at))
    values[:, INDEX["headYaw"]] = 0.12 * np.sin(2 * at)
    return values


@pytest.fixture(scope="module")
def drawn():
    """Per camera: pictures (FRAMES, H, W, 3) uint8 and landmarks (FRAMES, 478, 2)."""
    ada = load_avatar(builtin_avatars()["ada"])
    actor, values, out = performer(ada), acted(), {}
    points = load_embedding(load_head()).of(pose_vertices(identity(load_head(), ada.betas), values))
    for name, camera in (("near", NEAR), ("far", FAR)):
        seen = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        pixels = seen[..., :2] / seen[..., 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
        pictures = []
        for row in values:
            layers = rasterize(pose(actor, row), camera)
            colour = footage.encoded(layers.colour) * 255 + GREEN * (1 - np.clip(layers.alpha, 0, 1)[..., None])
            pictures.append(np.clip(colour, 0, 255).astype(np.uint8))
        out[name] = np.array(pictures), pixels.astype(np.float32)
    return out


class StandIn:
    """Landmarks of what is shown: the k-th new picture of the film."""

    points = np.zeros((0, 478, 2))

    def __init__(self, model=None, faces=4):
        self.k = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def next(self, image, cut=False):
        self.k += 1
        return [Face(self.points[self.k].copy(), np.zeros(52, np.float32))]


class Green:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self, image, face=None):
        away = np.abs(image.astype(int) - GREEN).sum(-1)
        return np.clip((away - 40) / 60, 0, 1).astype(np.float32)


@pytest.fixture
def studio(monkeypatch, tmp_path):
    """film(pictures, landmarks, …) -> path, with the stand-ins in place."""
    monkeypatch.setattr(perform, "Landmarker", StandIn)
    monkeypatch.setattr(footage, "_matter", Green)
    few = start.start_of  # Gaussians: what is tested is not how sharp the head becomes
    monkeypatch.setattr(start, "start_of_film", lambda head, track, cuts, seed: few(head, track.betas, 64))

    def film(pictures, points, rate=25, times=None, turned=False, name="take.mp4"):
        monkeypatch.setattr(StandIn, "points", points)
        path = tmp_path / name
        if turned:
            pictures = np.rot90(pictures, 1, (1, 2))
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=100 if times else rate)
            stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "yuv420p"
            stream.bit_rate = 6_000_000
            for k, image in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
                frame.pts, frame.time_base = (times[k], Fraction(1, 100)) if times else (k, Fraction(1, rate))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        if turned:
            data = bytearray(path.read_bytes())
            at = data.index(b"tkhd") + 4 + 40
            matrix = np.frombuffer(bytes(data[at : at + 36]), ">i4").copy()
            matrix[[0, 1, 3, 4, 6]] = 0, 1 << 16, -(1 << 16), 0, pictures.shape[1] << 16
            data[at : at + 36] = matrix.astype(">i4").tobytes()
            path.write_bytes(data)
        return path

    return film


def options(**changes) -> VideoOptions:
    usual = {"steps": 4, "inpainter": False, "style": False, "size": 64, "threads": 1}
    return VideoOptions("Ada again", AGREED, **(usual | changes))


@pytest.mark.parametrize("kind", ["24", "60", "variable", "turned"])
def test_films_of_all_rates_and_turns_become_heads(kind, drawn, studio, tmp_path):
    pictures, points = drawn["near"]
    times = [4 * k + k % 2 for k in range(FRAMES)] if kind == "variable" else None
    path = studio(pictures, points, int(kind) if kind.isdigit() else 25, times, kind == "turned")
    result = head_from_video(path, options())
    track = result.track
    assert track is not None and track.size == (WIDTH, HEIGHT) and result.avatar.plate is not None
    assert track.fps == (float(kind) if kind.isdigit() else pytest.approx(25, rel=0.05))
    jaw = track.motion.column("jawOpen")
    true = np.interp(np.linspace(0, 1, len(jaw)), np.linspace(0, 1, FRAMES), acted()[:, INDEX["jawOpen"]])
    assert np.corrcoef(jaw, true)[0, 1] > 0.9
    assert result.avatar.about["source"] == "video" and result.avatar.about["synthetic"]
    save_avatar(result.avatar, tmp_path / "a.loq")
    again = load_avatar(tmp_path / "a.loq")
    shown = rasterize(pose(performer(again), again.plate.motion.values[3]), again.plate.camera)
    truth = np.where(np.abs(pictures[3].astype(int) - GREEN).sum(-1, keepdims=True) > 60, pictures[3] / 255.0, 0)
    off = np.abs(footage.encoded(shown.colour) - truth).mean()
    assert off < 0.05, off  # black all over: about .2; a head the wrong way up: about .1


def test_each_side_of_a_cut_is_learned_from_for_itself(drawn, studio):
    half = FRAMES // 2
    pictures, points = (np.concatenate([drawn["near"][i][:half], drawn["far"][i][half:]]) for i in (0, 1))
    pictures[half:] = np.where(
        np.abs(pictures[half:].astype(int) - GREEN).sum(-1, keepdims=True) < 60, (200, 60, 210), pictures[half:]
    )
    result = head_from_video(studio(pictures, points), options())
    assert result.track.cuts == (half,)
    yaw = result.track.motion.column("headYaw")
    assert abs(yaw[half:].mean() - yaw[:half].mean()) > 0.05  # seen from elsewhere


def test_an_interrupted_head_is_taken_up_where_it_was_left_and_ends_the_same(drawn, studio, tmp_path):
    path = studio(*drawn["near"])
    whole = head_from_video(path, options(checkpoint=tmp_path / "a", steps=8))
    told: list[str] = []

    def stop(stage, fraction, picture):
        told.append(stage)
        if (stage == "Learning the head" and fraction >= 0.5) or (
            stage == "Cutting out the person" and "cut" not in seen
        ):
            seen.add("cut")
            raise Cancelled

    seen: set[str] = set()
    for _ in range(2):
        with pytest.raises(Cancelled):
            head_from_video(path, options(checkpoint=tmp_path / "b", steps=8), stop)
    assert told.count("Looking for faces") == FRAMES  # once, not twice
    rest = head_from_video(path, options(checkpoint=tmp_path / "b", steps=8))
    assert np.array_equal(whole.avatar.harmonics, rest.avatar.harmonics)
    assert np.array_equal(whole.track.motion.values, rest.track.motion.values)


def test_what_is_held_out_is_neither_seen_by_the_fit_nor_lost(drawn, studio, tmp_path):
    result = head_from_video(studio(*drawn["near"]), options(held_out=0.25, checkpoint=tmp_path / "w"))
    learned = FRAMES - round(0.25 * FRAMES)
    assert len(result.track) == learned and len(result.avatar.plate.motion) == FRAMES
    assert len(list((tmp_path / "w" / "pictures").glob("*.png"))) == learned
    jaw = result.avatar.plate.motion.column("jawOpen")[learned:]
    assert np.abs(jaw - acted()[learned:, INDEX["jawOpen"]]).mean() < 0.1


def test_a_film_without_sound_gives_a_head_and_a_word_about_the_voice(drawn, studio):
    path = studio(*drawn["near"])
    result = head_from_video(path, options(style=True, steps=1))
    assert result.style is None and any("voice style" in w for w in result.warnings)
    assert film_sound(path) is None


def test_the_sound_of_a_film_is_heard_from_its_beginning(tmp_path):
    rate, seconds = 22050, 1.5
    tone = (0.4 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone * 32767).astype(np.int16)[None], "s16", "mono")
        frame.rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    audio = film_sound(tmp_path / "a.wav")
    assert audio is not None and audio.seconds == pytest.approx(seconds, abs=0.02)
    assert np.abs(audio.samples).max() == pytest.approx(0.4, abs=0.03)
    assert film_sound(tmp_path / "a.wav", 0.5).seconds == pytest.approx(0.5)


def test_what_cannot_become_a_head_is_refused_before_any_work(drawn, studio, tmp_path):
    path = studio(*drawn["near"])
    with pytest.raises(FormatError, match="statement of their consent"):
        head_from_video(path, VideoOptions("A", Consent("Ada", "")))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FormatError, match=r"thesis\.txt"):
        head_from_video(path, options(checkpoint=tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    pictures, points = drawn["near"]
    with pytest.raises(CaptureError, match=r"seen in 6 frames .* at least 12"):
        head_from_video(studio(pictures[:6], points[:6], 2), options())
    with pytest.raises(CaptureError, match="is a photo"):
        footage._pillow().fromarray(pictures[0]).save(tmp_path / "a.png")
        head_from_video(tmp_path / "a.png", options())


def test_other_options_do_not_go_on_from_another_films_work(drawn, studio, tmp_path):
    pictures, points = drawn["near"]
    work = tmp_path / "w"
    head_from_video(studio(pictures, points), options(checkpoint=work, steps=1))
    before = (work / video.TRACK).stat().st_mtime_ns
    head_from_video(studio(pictures, points), options(checkpoint=work, steps=1))
    assert (work / video.TRACK).stat().st_mtime_ns == before
    head_from_video(studio(pictures[:20], points[:20], name="other.mp4"), options(checkpoint=work, steps=1))
    assert len(list((work / video.FOLDER).glob("*.png"))) == 20
