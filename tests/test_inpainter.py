# SPDX-License-Identifier: GPL-3.0-or-later
"""The body inpainter: holes and composites, the network in torch and as ONNX, its training, and the files that carry it."""

from dataclasses import replace

import numpy as np
import pytest

from loquent.core.errors import Cancelled, FormatError, RasterError
from loquent.core.geometry.cameras import look_at
from loquent.core.head.motion import CHANNELS, INDEX, Motion
from loquent.core.splats import inpainter as tier1
from loquent.core.splats.avatar import find_avatar, load_avatar, performer, save_avatar
from loquent.core.splats.onnx_outline import outline

torch = pytest.importorskip("torch", reason="the inpainter is trained with torch (extra 'adapt')")
onnx = pytest.importorskip("onnx", reason="the inpainter is written with onnx (extra 'adapt')")
from loquent.core.adapt import inpainter as module  # noqa: E402
from loquent.core.adapt.inpaint_network import InpaintNetwork, export  # noqa: E402

SIZE = (52, 70)  # neither a multiple of 16


def disc(size: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return np.clip(radius - np.hypot(y - row, x - column) + 0.5, 0, 1).astype(np.float32)


def room(size: tuple[int, int]) -> np.ndarray:
    """A background with something on it everywhere."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    wave = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 6)], -1)
    return (0.5 + 0.25 * wave).astype(np.float32)


def samples(count: int = 12, size: tuple[int, int] = SIZE) -> module.Samples:
    """A disc moves before a still room; it is drawn too small and without its dark rim, as poor heads are."""
    frames, renders, covers = [], [], []
    for k in range(count):
        at = size[0] * 0.5 + 3 * np.sin(k), size[1] * 0.5 + 6 * np.cos(1.7 * k)
        whole, inner = disc(size, *at, 14), disc(size, *at, 12)
        skin = np.array([0.8, 0.6, 0.5], np.float32) * inner[..., None] + np.float32(0.15) * (1 - inner[..., None])
        frames.append(skin * whole[..., None] + room(size) * (1 - whole[..., None]))
        renders.append(np.concatenate([np.array([0.8, 0.6, 0.5], np.float32) * inner[..., None], inner[..., None]], -1))
        covers.append(inner)
    stack = [np.round(np.stack(part) * 255).astype(np.uint8) for part in (frames, renders, covers)]
    return module.Samples(*stack, height=24.0)


def network(seed: int = 0, size: tuple[int, int] = SIZE) -> InpaintNetwork:
    made = InpaintNetwork(size, room(size), torch.Generator().manual_seed(seed))
    made.halve()
    return made


# ---- holes and composites


def test_a_hole_covers_the_head_and_a_margin_and_ends():
    cover = disc((120, 120), 60, 60, 30)
    mask = tier1.hole(cover)
    away = np.hypot(*(np.mgrid[:120, :120] + 0.5 - 60))
    margin = tier1.GROW * 60
    assert mask[away < 30 + 0.8 * margin - 1].min() > 0.9
    assert mask[away > 30 + margin + 2 * tier1.FEATHER * 60 + 3].max() == 0
    assert tier1.hole(np.zeros((8, 8), np.float32)).max() == 0


def test_a_hole_takes_in_both_heads():
    both = tier1.hole(disc((100, 100), 40, 40, 15), disc((100, 100), 60, 60, 15))
    assert both[40, 40] == both[60, 60] == 1 and both[10, 90] == 0


def test_a_hole_at_the_border_of_the_picture_stays_in_it():
    mask = tier1.hole(disc((60, 60), 0, 30, 20))
    assert mask[0, 30] == 1 and mask[59, 30] == 0


def test_outside_the_hole_the_frame_stays_to_the_bit():
    rng = np.random.default_rng(0)
    frame = rng.random((20, 30, 3), np.float32)
    mask = np.zeros((20, 30), np.float32)
    mask[5:10, 5:10] = 0.7
    out = tier1.composed(rng.random((20, 30, 4), np.float32), frame, mask, rng.random((20, 30, 3), np.float32))
    assert np.array_equal(out[mask == 0], frame[mask == 0]) and not np.allclose(out[mask > 0], frame[mask > 0])


@pytest.mark.parametrize("size", [(26, 35), (104, 140), (39, 91)])
def test_fitted_pictures_keep_their_mean_and_a_slope(size):
    y, x = np.mgrid[:52, :70].astype(np.float32)
    picture = np.stack([x / 70, y / 52], -1)
    out = tier1.fitted(picture, size)
    assert out.shape == (*size, 2) and np.allclose(out.mean((0, 1)), picture.mean((0, 1)), atol=0.01)
    middle = out[size[0] // 3 : -size[0] // 3, size[1] // 3 : -size[1] // 3, 0]
    assert np.allclose(np.diff(middle, axis=1), 1 / size[1], atol=2e-3)


# ---- the network


def test_torch_and_onnx_give_the_same_picture():
    made = network()
    session = tier1.load_inpainter(export(made), threads=1)
    rng = np.random.default_rng(1)
    frame, mask = rng.random((*SIZE, 3), np.float32), tier1.hole(disc(SIZE, 26, 35, 12))
    render = rng.random((*SIZE, 4), np.float32)
    render[..., :3] *= render[..., 3:]
    with torch.no_grad():
        feed = [torch.from_numpy(tier1.planes(p)) for p in (render, frame * (1 - mask[..., None]), mask[..., None])]
        residual = made(*feed)[0, :, : SIZE[0], : SIZE[1]].permute(1, 2, 0).numpy()
    expected = tier1.composed(render, frame, mask, residual)
    assert np.abs(session(render, frame, mask) - expected).max() < 1e-4
    assert np.abs(expected - frame)[mask > 0.5].mean() > 0.05


def test_a_crop_sees_the_maps_where_it_lies():
    made = network()
    still = torch.zeros(1, 4, 32, 32), torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    whole = torch.zeros(1, 4, 64, 80), torch.zeros(1, 3, 64, 80), torch.ones(1, 1, 64, 80)
    with torch.no_grad():
        apart = made(*still, corner=(16, 32)) - made(*whole)[..., 16:48, 32:64]
        wrong = made(*still) - made(*whole)[..., 16:48, 32:64]
    assert apart.abs().mean() < 0.25 * wrong.abs().mean()  # its border is padded otherwise


def test_the_file_is_small_at_the_size_of_films():
    made = InpaintNetwork((450, 450), np.zeros((450, 450, 3), np.float32), torch.Generator().manual_seed(0))
    assert len(export(made)) < 1_500_000


def test_a_larger_film_gets_the_same_picture_enlarged():
    session = tier1.load_inpainter(export(network()), threads=1)
    smooth = room(SIZE)
    mask = tier1.hole(disc(SIZE, 26, 35, 12))
    render = np.zeros((*SIZE, 4), np.float32)
    small = session(render, smooth, mask)
    double = (SIZE[0] * 2, SIZE[1] * 2)
    large = session(
        np.zeros((*double, 4), np.float32), tier1.fitted(smooth, double), tier1.fitted(mask[..., None], double)[..., 0]
    )
    assert np.abs(tier1.fitted(large, SIZE) - small).mean() < 0.01


def test_a_film_of_another_shape_is_refused():
    session = tier1.load_inpainter(export(network()), threads=1)
    with pytest.raises(RasterError, match="this head learned to sit in a film of 70 x 52"):
        session(np.zeros((70, 52, 4), np.float32), np.zeros((70, 52, 3), np.float32), np.zeros((70, 52), np.float32))
    with pytest.raises(RasterError, match="of one size"):
        session(np.zeros((52, 70, 4), np.float32), np.zeros((52, 70, 3), np.float32), np.zeros((50, 70), np.float32))


# ---- training


def test_it_learns_to_set_a_poor_head_into_its_footage():
    """The last frames are held out, and all have a dark rim that the drawn disc lacks."""
    data = samples(16)
    taught = replace(data, frames=data.frames[:12], renders=data.renders[:12], covers=data.covers[:12])
    made = module.train(taught, module.InpainterOptions(steps=90, crop=64, threads=1), lambda *_: None)
    session = tier1.load_inpainter(export(made), threads=1)
    inpainted, elsewhere = [], []
    for k in range(12, 16):
        frame, render = data.frames[k] / np.float32(255), data.renders[k] / np.float32(255)
        mask = tier1.hole(data.covers[k] / np.float32(255))
        inpainted.append(np.square(session(render, frame, mask) - frame).mean())
        # the head of one frame in the footage of another: behind it there must be the room, not the other head
        other = data.frames[k - 5] / np.float32(255)
        both = tier1.hole(data.covers[k] / np.float32(255), data.covers[k - 5] / np.float32(255))
        moved = session(render, other, both)
        elsewhere.append((np.square(moved - frame).mean(), np.square(other - frame).mean()))
    bare = np.square(session(np.zeros_like(render), frame, mask) - frame).mean()
    assert np.mean(inpainted) < 0.6 * bare  # it uses the render, and does not paint a remembered head
    assert np.mean([e[0] for e in elsewhere]) < 0.4 * np.mean([e[1] for e in elsewhere])
    assert np.mean(inpainted) < 10 ** (-30 / 10)


def test_an_interrupted_training_goes_on_to_the_same_network(tmp_path):
    data = samples(8, (32, 48))
    options = module.InpainterOptions(steps=12, crop=32, threads=1)
    whole = export(module.train(data, options, lambda *_: None))
    stored = replace(options, checkpoint=tmp_path / "a.safetensors")

    def stop(stage: str, fraction: float, picture: np.ndarray | None) -> None:
        if fraction > 0.4:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        module.train(data, stored, stop)
    seen = []
    again = export(module.train(data, stored, lambda stage, fraction, picture: seen.append(fraction)))
    assert seen[0] > 0.4 and again == whole
    # a checkpoint of other pictures, or a damaged one, is not gone on from
    (tmp_path / "a.safetensors").write_bytes(b"damaged")
    seen.clear()
    module.train(data, replace(stored, steps=1), lambda stage, fraction, picture: seen.append(fraction))
    assert seen[0] == 0


def test_the_still_plate_is_what_lies_behind_the_heads():
    data = samples(16)
    plate = module.still_plate(data)
    seen = np.min(data.covers, 0) == 0
    assert plate.shape == (*SIZE, 3) and np.isfinite(plate).all()
    assert np.abs(plate - room(SIZE))[:4].max() < 0.01 and np.abs(plate - room(SIZE))[seen].mean() < 0.05


def test_a_drawn_head_has_its_cover_without_shoulders():
    actor = performer(load_avatar(find_avatar("ada")))
    camera = look_at((0, 0, 0.9), (0, -0.05, 0), width=120, height=120)
    drawn = tier1.cut(actor, np.zeros(len(CHANNELS), np.float32), camera, threads=1)
    alpha = drawn.render[..., 3]
    assert drawn.cover.max() > 0.95 and (drawn.cover <= alpha + 1e-3).all()
    assert alpha[92].max() > 0.9 and drawn.cover[92].max() < 0.05  # shoulders are drawn, and not cut out
    assert (drawn.render[..., :3] <= drawn.render[..., 3:] + 1e-5).all()


def test_from_a_film_to_a_head_that_carries_its_inpainter(tmp_path):
    """A film of a built-in head before a room; the head that is drawn over it has lost half of its hair."""
    pytest.importorskip("av", reason="films are written and read by PyAV (extra 'adapt')")
    from loquent.core.capture.track import Track
    from loquent.tests.test_capture import write_film

    avatar = load_avatar(find_avatar("ada"))
    actor, count = performer(avatar), 12
    camera = look_at((0, 0, 0.9), (0, -0.02, 0), width=96, height=96)
    values = np.zeros((count, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]] = 0.3 + 0.3 * np.sin(np.arange(count))
    values[:, INDEX["headX"]] = 0.01 * np.cos(np.arange(count))
    images = []
    for row in values:
        drawn = tier1.cut(actor, row, camera, threads=1).render
        images.append(np.round((drawn[..., :3] + (1 - drawn[..., 3:]) * room((96, 96))) * 255).astype(np.uint8))
    path = write_film(tmp_path / "a.mp4", images)
    track = Track(
        avatar.betas, camera, Motion(25, values), np.ones(count, np.float32), np.zeros((count, 478, 2), np.float32),
        avatar.head_id,
    )  # fmt: skip
    options = module.InpainterOptions(steps=3, crop=64, threads=1, frames=(0, 10))
    told = []
    data = module.inpainter_from_film(path, avatar, track, options, lambda *said: told.append(said[:2]))
    assert {stage for stage, _ in told} == {"Drawing the head over its film", "Learning the footage"}
    save_avatar(replace(avatar, inpainter=data), tmp_path / "a.loq")
    back = load_avatar(tmp_path / "a.loq")
    assert back.inpainter == data and tier1.load_inpainter(data).size == (96, 96)
    with pytest.raises(module.CaptureError, match="needs at least 8"):
        module.inpainter_from_film(path, avatar, track, replace(options, frames=(0, 5)))


# ---- files of others


def changed(edit) -> bytes:
    model = onnx.load_from_string(export(network()))
    edit(model)
    return model.SerializeToString()


def test_an_outline_is_what_onnx_reads():
    data = export(network(), {"source": "film.mp4"})
    model, found = onnx.load_from_string(data), outline(data)
    assert found.operators == {node.op_type for node in model.graph.node} and found.opsets == {"": 17}
    assert "film.mp4" in found.metadata["loquent"] and not found.external


def external(model) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def loop(model) -> None:
    body = onnx.helper.make_graph([onnx.helper.make_node("Scan", ["a"], ["b"])], "body", [], [])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", body))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda m: setattr(m.graph.node[3], "op_type", "Loop"), "operators Loop"),
        (lambda m: setattr(m.graph.node[3], "domain", "evil"), "evil.Conv"),
        (loop, "operators Scan"),
        (external, "refers to other files"),
        (lambda m: setattr(m.opset_import[0], "version", 99), "operator sets"),
        (lambda m: m.metadata_props.pop(), "does not tell the size"),
        (lambda m: setattr(m.metadata_props[0], "value", '{"size": [9000, 20]}'), "works at 20 x 9000"),
    ],
)  # fmt: skip
def test_a_network_that_is_not_of_our_kind_is_refused_before_it_is_loaded(edit, said):
    with pytest.raises(FormatError, match=said):
        tier1.load_inpainter(changed(edit))


def test_wrong_inputs_and_no_network_at_all_are_refused():
    def renamed(model):
        model.metadata_props[0].value = '{"size": [96, 96]}'

    with pytest.raises(FormatError, match="expected"):
        tier1.load_inpainter(changed(renamed))
    for data in (b"", b"\x08\x08", b"no network", bytes(tier1.MAX_BYTES + 1)):
        with pytest.raises(FormatError):
            tier1.load_inpainter(data)
    whole = export(network())
    with pytest.raises(FormatError):
        tier1.load_inpainter(whole[: len(whole) // 2])


def test_a_head_with_a_foreign_network_does_not_load(tmp_path):
    avatar = load_avatar(find_avatar("ada"))
    save_avatar(replace(avatar, inpainter=b"no network"), tmp_path / "a.loq")
    with pytest.raises(FormatError, match=r"a\.loq.*not an ONNX network"):
        load_avatar(tmp_path / "a.loq")
