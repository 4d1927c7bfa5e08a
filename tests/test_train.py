# SPDX-License-Identifier: GPL-3.0-or-later
"""A small prior learns end to end: sounds, phones, store, training, export; and the ONNX twins equal the torch networks."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from loquent.core.prior.diffusion import SIGMA_MAX, denoiser, sigmas  # noqa: E402
from loquent.core.prior.model import CONTEXT, Sampling, load_prior, prior_curves  # noqa: E402
from loquent.core.prior.mouth import MOUTH, OUTPUTS, STYLE_NUMBERS  # noqa: E402
from loquent.core.prior.sampling import SAMPLERS, guided  # noqa: E402
from loquent.core.speech.audio import RATE, Audio  # noqa: E402
from loquent.core.speech.encoder import frame_count, load_encoder  # noqa: E402
from loquent.tools.speech import articulation, facegood, lips, train_data  # noqa: E402
from loquent.tools.speech.hear import hear  # noqa: E402
from loquent.tools.speech.train import Networks, Recipe, losses, named_styles, prepare, train  # noqa: E402
from loquent.tools.speech.train_export import export  # noqa: E402

SMALL = Recipe(steps=60, batch=4, frames=60, width=32, depth=1, context=10, dropout=0.0, rate=4e-3, capture_share=0.3)
WORD = (("_", 0), ("m", 120), ("ɑ", 700), ("p", 0), ("i", 2500), ("u", 300), ("_", 0))


def spoken(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """A made-up word: hums, tones and silences, and when they sound."""
    phones, sound, at = [], [], 0.0
    for symbol, hertz in WORD:
        seconds = rng.uniform(0.12, 0.3)
        t = np.arange(int(seconds * RATE)) / RATE
        sound.append(0.2 * np.sin(2 * np.pi * hertz * t) * (hertz > 0) + rng.normal(0, 0.001, len(t)))
        phones.append((symbol, at, at + seconds))
        at += seconds
    return np.concatenate(sound).astype(np.float32), phones


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder, rng, encoder = tmp_path_factory.mktemp("store"), np.random.default_rng(0), load_encoder(threads=1)
    hearings = []
    for number in range(6):
        samples, phones = spoken(rng)
        curves = articulation.curves(phones, samples, frame_count(len(samples)))
        captured = number == 5
        states = train_data.sharp_states(curves, None if captured else articulation.simple_phones(phones))
        taught = facegood.CAPTURED if captured else np.ones(len(OUTPUTS), np.float32)
        about = (taught, int(captured), "actor" if captured else "table 0" if number else "", "tests", str(number))
        hearings.append(train_data.Hearing(*hear(encoder, samples), curves, states, *about))
    train_data.write(folder, hearings[:2])
    train_data.write(folder, hearings[2:])  # a store grows
    return train_data.opened(folder)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """Networks, their folder, the lines of the log."""
    torch.set_num_threads(1)
    folder, lines = tmp_path_factory.mktemp("run"), []
    nets = train(store, SMALL, report=lines.append, every=10)
    export(nets, named_styles(nets, store), folder)
    return nets, folder, lines


def total(line: str) -> float:
    return float(line.split(" total ")[1])


def test_a_store_gives_back_what_was_written_and_grows(store):
    assert [a["name"] for a in store.index] == list("012345") and store.minutes(1) > 0
    clip = store.clip(5)
    assert len(clip["features"]) == store.index[5]["frames"] == len(clip["states"]) // 2
    drawn = train_data.Batches(store, 60, 0.5).draw(8, np.random.default_rng(0))
    assert (
        drawn.features.shape == (8, 60, 384)
        and drawn.states.shape == (8, 120, 3)
        and drawn.style.shape == (8, STYLE_NUMBERS)
    )
    assert {0.0, 1.0} >= set(drawn.seen.ravel().tolist()) and (drawn.features[drawn.seen == 0] == 0).all()


def test_sharp_states_begin_and_end_with_the_closure():
    phones = [("_", -1.0, 0.2), ("ɑ", 0.2, 0.4), ("m", 0.4, 0.5), ("ɑ", 0.5, 0.56), ("m", 0.56, 0.66), ("_", 0.66, 2.0)]
    curves = np.zeros((50, len(OUTPUTS)), np.float32)
    states = train_data.sharp_states(curves, phones)
    shut = states[:, 0] > 0.5
    assert not shut[:40].any() and shut[42:48].all() and shut[58:64].all() and not shut[67:].any()
    assert not shut[51:56].any()  # a vowel of 60 ms between two m stays open


def test_the_loss_of_a_small_training_falls(run):
    _, _, lines = run
    assert total(lines[-1]) < 0.75 * total(lines[0]), lines


def test_training_is_decided_by_its_seed(store):
    recipe = Recipe(**{**vars(SMALL), "steps": 3})
    one, same, other = (train(store, Recipe(**{**vars(recipe), "seed": s}), report=lambda _: None) for s in (1, 1, 2))
    a, b, c = (torch.cat([p.flatten() for p in nets.parameters()]) for nets in (one, same, other))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_every_part_of_the_loss_reaches_the_networks(store):
    nets = Networks(SMALL.shape)
    prepare(nets, store)
    drawn = train_data.Batches(store, SMALL.frames, 0.3).draw(4, np.random.default_rng(1))
    b = {name: torch.from_numpy(array) for name, array in vars(drawn).items()}
    for weight in (nets.denoiser.leave.weight, nets.denoiser.layers[0].film.weight):  # both begin at nothing
        torch.nn.init.normal_(weight, std=0.1)
    parts = losses(nets, b, SMALL, lips.fitted(), torch.Generator().manual_seed(0))
    assert set(parts) == {"mean", "mean_pace", "mean_lips", "states", "gap", "clean", "clean_pace", "clean_lips"}
    torch.stack(list(parts.values())).sum().backward()
    dead = [name for name, p in nets.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not [name for name in dead if "nothing" not in name], dead  # no window of these few dropped its audio


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_the_same_sampler_gives_the_same_motion_from_torch_and_onnx(run, store, sampler, guidance):
    nets, folder, _ = run
    model = load_prior(folder, threads=1)
    clip = {k: v.astype(np.float32)[None] for k, v in store.clip(0).items()}
    style = model.mixed_style(0.3)[None]
    heard = {"features": clip["features"], "mel": clip["mel"], "style": style}
    with torch.no_grad():
        listened = [
            x.numpy() for x in nets.listener(*(torch.from_numpy(heard[k]) for k in ("features", "mel", "style")))
        ]
    tokens, mean, states = model.listener.run(None, heard)
    for ours, theirs in zip((tokens, mean, states), listened, strict=True):
        assert np.abs(ours - theirs).max() < 1e-4
    frames = mean.shape[1]
    known = np.zeros((1, frames, 1), np.float32)
    known[:, :CONTEXT] = 1
    before = np.random.default_rng(1).normal(0, 0.3, mean.shape).astype(np.float32)
    noise = SIGMA_MAX * np.random.default_rng(0).normal(size=mean.shape).astype(np.float32)

    def by_onnx(on):
        def raw(x, number):
            given = {"noisy": x.astype(np.float32), "tokens": tokens, "style": style, "before": before, "known": known}
            return model.denoiser.run(None, given | {"noise": np.float32([number]), "heard": np.float32([on])})[0]

        return denoiser(raw)

    def by_torch(on):
        def raw(x, number):
            rest = (torch.from_numpy(a) for a in (tokens, style, before, known))
            with torch.no_grad():
                return nets.denoiser(x.float(), torch.tensor([number]).float(), *rest, torch.tensor([on]))

        return denoiser(raw)

    levels = sigmas(4)
    ours = SAMPLERS[sampler](guided(by_onnx(1.0), by_onnx(0.0), guidance), noise, levels)
    theirs = SAMPLERS[sampler](guided(by_torch(1.0), by_torch(0.0), guidance), torch.from_numpy(noise), levels)
    assert np.abs(ours - theirs.numpy()).max() < 1e-4


def test_a_small_prior_speaks(run, store):
    _, folder, _ = run
    model = load_prior(folder, threads=1)
    samples, _ = spoken(np.random.default_rng(9))
    curves, levels = prior_curves(model, Audio(samples), style=model.mixed_style(0.5), sampling=Sampling(steps=2))
    assert curves.shape == (2 * frame_count(len(samples)), len(OUTPUTS)) and len(levels) == frame_count(len(samples))
    assert np.isfinite(curves).all()
    assert set(model.styles) == {"articulated", "captured"}
    numbers = np.random.default_rng(0).random((100, len(MOUTH))).astype(np.float32)
    style = model.style_of(numbers, 50)
    with torch.no_grad():
        from loquent.core.prior.mouth import style_numbers

        expected = run[0].style(torch.from_numpy(style_numbers(numbers, 50))[None])[0].numpy()
    assert style.shape == (64,) and np.allclose(style, expected, atol=1e-4) and np.abs(style).max() <= 1


def test_half_precision_files_are_half_as_large(run, tmp_path):
    nets, folder, _ = run
    styles = {"articulated": np.zeros(64, np.float32)}
    export(nets, styles, tmp_path, half=False)
    assert (folder / "denoiser.onnx").stat().st_size < 0.75 * (tmp_path / "denoiser.onnx").stat().st_size


def test_the_quick_lips_are_those_of_the_head():
    from loquent.core.head.head import identity, load_head, pose_vertices

    mouth, values = lips.random_mouths(60, np.random.default_rng(7))
    person = identity(load_head())
    vertices, marks = 1e3 * pose_vertices(person, values), person.head.landmarks
    gaps = np.max([vertices[:, marks[u], 1] - vertices[:, marks[d], 1] for u, d in lips.PAIRS], axis=0)
    found = lips.fitted().gap(torch.from_numpy(mouth)).numpy()
    assert np.abs(found - gaps).max() < 0.1, np.abs(found - gaps).max()


def test_a_store_is_joined_from_what_was_heard_and_what_is_to_be_learned(store, tmp_path):
    from loquent.tools.speech.train_store import hearings, kept_for_validation

    cache, corpus = tmp_path / "cache", tmp_path / "corpus"
    for number, (source, split) in enumerate([("kokoro", "train"), ("kokoro", "valid"), ("facegood", "train")]):
        clip = store.clip(number)
        for folder in (cache / source, corpus / source):
            folder.mkdir(parents=True, exist_ok=True)
        path = cache / source / f"{number:05d}-0.npz"
        np.savez(path, features=clip["features"], mel=clip["mel"])
        np.savez(
            path.with_suffix(".curves.npz"), curves=clip["curves"], taught=np.ones(len(OUTPUTS), np.float32), split=np.array(split),
            phone_symbols=np.array(["_", "m"], "U2"), phone_times=np.array([[0, 0.3], [0.3, 0.4]], np.float32),
            table=np.array(7), speaker=np.array("someone"),
        )  # fmt: skip
        about = {"language": "en-us", "speaker": "someone", "phones": [["m", 0.3, 0.4]]}
        (corpus / source / f"{number:05d}.json").write_text(json.dumps(about), "utf8")
    found = {h.name: h for h in hearings(cache, set())}
    assert {n: h.speaker for n, h in found.items()} == {"kokoro/00000-0": "table 7", "facegood/00002-0": "someone"}
    assert found["kokoro/00000-0"].states[34, 0] == 1 and found["facegood/00002-0"].source == 1
    assert not list(hearings(cache, set(found)))
    assert [v["set"] for v in kept_for_validation(corpus, cache)] == ["voices"]
