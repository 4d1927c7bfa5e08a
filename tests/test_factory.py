# SPDX-License-Identifier: GPL-3.0-or-later
"""The data factory: laws of the articulation, labels that keep their place through every throat, and the chain end to end."""

import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the factory's environment has scipy (tools/speech/requirements.txt)")

from loquent.core.prior.mouth import OUTPUTS
from loquent.core.speech.audio import RATE
from loquent.core.speech.encoder import frame_count
from loquent.tools.speech import articulation, augment, corpus, facegood, hear, targets, text, tract, voices
from loquent.tools.speech.align import snapped
from loquent.tools.speech.clips import hearing

JAW, SEAL, BITE, REST = (OUTPUTS.index(name) for name in ("jawOpen", "seal", "bite", "rest"))


def timed(spelling: list[tuple[str, float]], begin: float = 0.3) -> articulation.Phones:
    out = []
    for symbol, milliseconds in spelling:
        out.append((symbol, begin, begin + milliseconds / 1000))
        begin = out[-1][2]
    return out


def sound(phones: articulation.Phones, seconds: float, seed: int = 0) -> np.ndarray:
    """16 kHz: a buzz in vowels, hiss in consonants, next to nothing in p b m."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 1e-4, int(seconds * RATE))
    t = np.arange(len(out)) / RATE
    for symbol, begin, end in phones:
        inside = (t >= begin) & (t < end)
        if symbol in articulation.VOWELS:
            out[inside] += 0.2 * sum(np.sin(2 * np.pi * 120 * k * t[inside]) / k for k in range(1, 20))
        elif symbol not in articulation.SEALED and symbol != "_":
            out[inside] += rng.normal(0, 0.03, inside.sum())
    return out.astype(np.float32)


def made(spelling: list[tuple[str, float]], habits: int = 0) -> tuple[np.ndarray, articulation.Phones]:
    phones = timed(spelling)
    seconds = phones[-1][2] + 0.5
    samples = sound(phones, seconds)
    return articulation.curves(phones, samples, frame_count(len(samples)), articulation.table(habits)), phones


def at(curves: np.ndarray, seconds: float, column: int) -> float:
    return float(np.interp(seconds * 50, np.arange(len(curves)), curves[:, column]))


@pytest.mark.parametrize("habits", [0, 1, 7, 33])
@pytest.mark.parametrize("consonant", "pbm")
@pytest.mark.parametrize("vowel", [55, 80, 140])
def test_lips_meet_in_p_b_m_and_the_shortest_vowel_between_two_of_them_opens(habits, consonant, vowel):
    curves, phones = made([("ɑ", 120), (consonant, 70), ("ɪ", vowel), (consonant, 70), ("ɑ", 120)], habits)
    for symbol, begin, end in articulation.closures(phones):
        assert at(curves, (begin + end) / 2, SEAL) > 0.9, symbol
        assert 0.04 <= end - begin <= 0.15
    first, second = articulation.closures(phones)
    assert second[1] - first[2] > 0.6 * vowel / 1000
    between = [at(curves, s, SEAL) for s in np.linspace(first[2], second[1], 21)]
    assert min(between) < 0.35
    assert curves[:, :17].min() >= 0 and curves.max() <= 1


def test_clusters_are_one_closure_and_long_stops_close_only_before_their_release():
    (shut,) = articulation.closures(timed([("ɑ", 100), ("m", 60), ("p", 60), ("ɑ", 100)]))
    assert shut[1] == pytest.approx(0.4) and shut[2] == pytest.approx(0.46 + 0.6 * 0.06, abs=0.006)
    (late,) = articulation.closures(timed([("ɑ", 100), ("p", 400), ("ɑ", 100)]))
    assert late[2] == pytest.approx(0.4 + 0.6 * 0.4) and late[2] - late[1] <= 0.11 + 1e-9


@pytest.mark.parametrize("milliseconds", [30, 45, 90])
def test_f_and_v_bite_even_in_fast_speech(milliseconds):
    curves, phones = made([("ɑ", 70), ("f", milliseconds), ("ə", 80), ("v", milliseconds), ("ɹ", 60), ("ɑ", 90)])
    for symbol, begin, end in articulation.bites(phones):
        assert end - begin > 0.045 and at(curves, (begin + end) / 2, BITE) > 0.85, symbol
    assert at(curves, sum(phones[2][1:]) / 2, BITE) < 0.6  # and the vowel between them is let go


@pytest.mark.parametrize("habits", range(0, 64, 9))
def test_hard_constraints_hold_for_all_habits(habits):
    curves, phones = made([("ɑ", 140), ("s", 110), ("ɑ", 140), ("f", 100), ("ɑ", 140), ("ʃ", 110), ("u", 140)], habits)
    middle = {i: (b + e) / 2 for i, (_, b, e) in enumerate(phones)}
    assert at(curves, middle[3], BITE) > 0.9 and at(curves, middle[3], JAW) < 0.12
    assert max(at(curves, middle[i], JAW) for i in (1, 5)) < 0.16
    assert at(curves, middle[0], JAW) > 2 * at(curves, middle[1], JAW)
    pucker = OUTPUTS.index("mouthPucker")
    assert at(curves, middle[6], pucker) > 0.3 > 0.15 > at(curves, middle[0], pucker)
    assert curves[:5, REST].min() > 0.9 and np.abs(curves[:5, :17]).max() < 0.1  # before anybody speaks


def test_loud_and_long_vowels_open_wider_and_ah_opens_as_actors_do():
    phones = timed([("ɑ", 130), ("t", 60), ("ɑ", 130), ("t", 60), ("ɑ", 130)])
    samples = sound(phones, 1.5)
    samples[int(phones[2][1] * RATE) : int(phones[2][2] * RATE)] *= 4
    curves = articulation.curves(phones, samples, frame_count(len(samples)))
    jaws = [at(curves, (b + e) / 2, JAW) for s, b, e in phones if s == "ɑ"]
    assert jaws[1] > 1.2 * jaws[0] and 0.4 < jaws[1] < 0.85
    short, long = (made([("t", 70), ("ɑ", ms), ("t", 70), ("ɑ", 110)])[0][:, JAW][:28].max() for ms in (50, 140))
    assert long > 1.25 * short


def test_each_table_is_a_speaker_of_his_own_and_always_the_same():
    word = [("b", 70), ("ɑ", 140), ("w", 80), ("i", 120)]
    curves = [made(word, n)[0] for n in (0, 1, 2)]
    assert np.array_equal(curves[1], made(word, 1)[0])
    assert np.abs(curves[1] - curves[2]).max() > 0.02 and np.abs(curves[0] - curves[1]).max() > 0.02


def test_visemes_name_every_phone_and_follow_the_times():
    assert set(articulation.VOWELS) | set(articulation.CONSONANTS) | {"_"} == set(articulation.VISEME_OF)
    phones = timed([("p", 100), ("ɑ", 200), ("s", 100)], 0.1)
    names = [articulation.VISEMES[i] for i in articulation.visemes(phones, 30)]
    assert names[:5] == ["sil"] * 5 and names[5:10] == ["PP"] * 5 and names[10:20] == ["aa"] * 10
    assert names[20:25] == ["SS"] * 5 and names[25:] == ["sil"] * 5


@pytest.mark.parametrize(("pitch", "formants"), [(0.8, 0.9), (1.0, 1.15), (1.2, 1.1)])
def test_a_throat_keeps_what_happens_when(pitch, formants):
    clicks = np.zeros(2 * RATE, np.float32)
    clicks[[4000, 16000, 27000]] = 0.8
    clicks += np.float32(0.01) * np.random.default_rng(0).standard_normal(len(clicks), np.float32)
    heard, factor = augment.throat(clicks, pitch, formants)
    assert len(heard) == augment.throat_length(len(clicks), pitch) and factor == pytest.approx(1 / pitch, rel=0.01)
    for click in (4000, 16000, 27000):
        near = slice(int(click * factor) - 400, int(click * factor) + 400)
        assert abs(np.argmax(np.abs(heard[near])) - 400) < 60


def test_a_throat_moves_the_formants():
    t = np.arange(RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * 100 * k * t) * np.exp(-(((100 * k - 1200) / 300) ** 2)) for k in range(1, 40))
    heard, _ = augment.throat(buzz.astype(np.float32) * 0.2, 1.0, 1.2)
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert (power * np.fft.rfftfreq(len(heard), 1 / RATE)).sum() / power.sum() == pytest.approx(1440, abs=120)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_quick_hearing_has_the_clock_of_the_true_one(which):
    samples = sound(timed([("ɑ", 300), ("p", 100), ("ɑ", 300)]), 1.3)
    true, quick = (hearing(samples, "flite", 5, which, rendered=r) for r in (True, False))
    assert (true.shift, true.factor, len(true.dry)) == (quick.shift, quick.factor, len(quick.dry))
    assert np.array_equal(true.heard(which), hearing(samples, "flite", 5, which).heard(which))


def test_labels_of_closures_move_to_the_sound():
    phones = timed([("ɑ", 150), ("b", 90), ("ɑ", 150), ("m", 80), ("i", 150)])
    samples = sound([(s, b, b + articulation.SHARE_SHUT.get(s, 1) * (e - b)) for s, b, e in phones], 1.3)
    for _, _, e in phones[1::2]:  # voiced from the release on
        samples[int((e - 0.02) * RATE) : int(e * RATE)] += samples[int(0.35 * RATE) :][: int(0.02 * RATE)]
    for late in (-0.025, 0.03):
        moved = snapped(samples, [(s, b + late, e + late) for s, b, e in phones])
        for true, found in zip(phones, moved, strict=True):
            if true[0] in "bm":
                assert abs(found[1] - true[1]) < 0.012, (late, true, found)
        assert all(a[2] == pytest.approx(b[1]) for a, b in pairwise(moved))


def test_tokens_become_phones_moved_by_the_engines_lateness():
    tokens = [
        ("^", 0.0, 0.1),
        ("ˈ", 0.1, 0.15),
        ("ɑ", 0.15, 0.25),
        ("ː", 0.25, 0.3),
        (" ", 0.3, 0.33),
        ("p", 0.33, 0.4),
        (".", 0.4, 0.6),
    ]
    found = voices.merge(tokens, 0.05)
    assert [s for s, _, _ in found] == ["_", "ɑ", "p", "_"]
    assert np.allclose([x for _, b, e in found for x in (b, e)], [0, 0.05, 0.05, 0.25, 0.25, 0.35, 0.35, 0.55])


def test_kana_are_read_by_rule():
    assert voices.kana_ipa("しゃしんと きゃべつ、さんぽ。") == "ɕaɕiɴto kjabeʦɯ,sampo."


def test_nobody_held_out_is_spoken_with():
    assert not set(corpus.UNHEARD) & set(corpus.ROBOTS) and not set(corpus.UNHEARD) & set(corpus.TONGUES)
    assert not set(corpus.HELD_OUT) & set(corpus.FLITE)
    assert not set(text.BORROWED) & set(corpus.UNHEARD)


def test_captures_teach_only_what_was_captured():
    assert facegood.CAPTURED[JAW] and not facegood.CAPTURED[[SEAL, BITE, REST, OUTPUTS.index("tongueOut")]].any()


def run(program, monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
    program.main()


@pytest.mark.skipif(not shutil.which("flite"), reason="flite 2.2 is not installed (apt install flite)")
def test_the_factory_end_to_end_resumes_and_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("loquent.tools.speech.clips.NOBODIES", 1)
    for name in ("a", "b"):
        for minutes in ("0.05", "0.12") if name == "a" else ("0.12",):  # "a" was stopped half way
            run(corpus, monkeypatch, "--engines", tmp_path, "--out", tmp_path / name, "--minutes", f"flite={minutes}")
        run(hear, monkeypatch, "--corpus", tmp_path / name, "--cache", tmp_path / f"cache {name}")
        run(targets, monkeypatch, "--corpus", tmp_path / name, "--cache", tmp_path / f"cache {name}")
    index = json.loads((tmp_path / "cache a/index.json").read_text("utf8"))
    spoken = [about for about in index if about["source"] == "flite"]
    assert (
        len(index) == len(spoken) + 1
        and len(spoken) >= 4
        and index == json.loads((tmp_path / "cache b/index.json").read_text("utf8"))
    )
    for about in index:
        sounds, curves = (
            [dict(np.load(tmp_path / f"cache {name}" / about[kind])) for name in "ab"] for kind in ("sound", "curves")
        )
        for one, two in (sounds, curves):
            assert one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)
        frames = about["frames"]
        assert sounds[0]["features"].shape == (frames, 384) and sounds[0]["mel"].shape == (frames, 160)
        assert curves[0]["curves"].shape == (frames, len(OUTPUTS)) and curves[0]["visemes"].shape == (frames,)
        phones = zip(curves[0]["phone_symbols"].tolist(), curves[0]["phone_times"].tolist(), strict=True)
        for _, begin, end in articulation.closures([(s, b, e) for s, (b, e) in phones]):
            assert at(curves[0]["curves"].astype(float), (begin + end) / 2, SEAL) > 0.7


def gestures(phones):
    """(tier, value, begin, end) of a gestural score."""
    import re
    from xml.etree import ElementTree

    found, whole = [], ElementTree.fromstring(tract.score(phones, phones[-1][2] + 0.5))
    for tier in whole:
        at = 0.0
        for gesture in tier:
            seconds = float(gesture.attrib["duration_s"])
            found.append((tier.attrib["type"], gesture.attrib["value"], at, at + seconds))
            at += seconds
    assert all(
        re.fullmatch(r"[\w-]*", value) or value.replace(".", "").isdigit() or value == "@" for _, value, *_ in found
    )
    return found


def test_a_gestural_score_has_a_gesture_for_every_phone_at_its_time():
    phones = timed([("m", 80), ("a", 150), ("s", 90), ("u", 120), ("f", 70), ("i", 200)])
    found = gestures(phones)
    for symbol, tier, value in (
        ("m", "lip-gestures", "ll-labial-closure"), ("s", "tongue-tip-gestures", "tt-alveolar-fricative"),
        ("f", "lip-gestures", "ll-dental-fricative"),
    ):  # fmt: skip
        begin, end = next((b, e) for s, b, e in phones if s == symbol)
        (at,) = [(b, e) for t, v, b, e in found if (t, v) == (tier, value)]
        assert at[0] < begin + 0.005 and at[1] == pytest.approx(end - 0.02, abs=0.03)
    assert [v for t, v, *_ in found if t == "vowel-gestures"] == ["a", "u", "i"]
    for tier in tract.TIERS:
        assert all(e - b >= tract.SHORTEST - 1e-6 for t, _, b, e in found if t == tier)


def test_scores_of_fast_speech_have_no_gesture_that_is_too_short():
    rng = np.random.default_rng(0)
    letters = [*articulation.VOWELS, *articulation.CONSONANTS]
    for _ in range(20):
        phones = timed([(letters[i], rng.uniform(5, 60)) for i in rng.integers(len(letters), size=40)])
        assert all(e - b >= tract.SHORTEST - 1e-6 for _, v, b, e in gestures(phones) if v)


def test_imagined_speakers_beyond_the_tables_move_after_a_tract(monkeypatch):
    """Lips follow the tract's protrusion and distance as far as the speaker does; phones it lacks, closures and rest stay."""
    phones = timed([("a", 150), ("m", 90), ("i", 150), ("w", 90), ("a", 150)])
    samples = sound(phones, phones[-1][2] + 0.5)
    frames = frame_count(len(samples))
    pout = np.ones(2 * frames)
    asked = []

    def movement(phones, count):
        asked.append(count)
        known = np.ones(count)
        known[slice(*(int(100 * x) for x in phones[4][1:]))] = 0
        return tract.Movement(-4 * pout, 0.9 * pout, 0.3 * pout, 4 * pout, known)

    monkeypatch.setattr(articulation.tract, "movement", movement)
    habits = articulation.table(articulation.TRACTS + 3)
    assert habits.tract > 0 and articulation.table(33).tract == 0
    plain = articulation.curves(phones, samples, frames, replace(habits, tract=0.0, tract_jaw=0.0))
    led = articulation.curves(phones, samples, frames, habits)
    assert asked == [2 * frames]
    pucker = OUTPUTS.index("mouthPucker")
    vowel, glide, after = (float(np.mean(phones[k][1:])) for k in (0, 3, 4))
    assert at(led, vowel, pucker) > at(plain, vowel, pucker) + 0.2
    assert at(led, after, pucker) > at(plain, after, pucker) + 0.2 and glide > vowel
    assert np.array_equal(led[:, SEAL:], plain[:, SEAL:])
    assert led.min() >= 0 and led.max() <= 1


@pytest.mark.skipif(
    find_spec("vocaltractlab_cython") is None, reason="VocalTractLab is in the factory's environment alone"
)
def test_the_tract_rounds_its_lips_for_u_and_shuts_them_for_m():
    phones = timed([("a", 200), ("m", 120), ("a", 200), ("u", 250), ("i", 250)])
    moved = tract.movement(phones, 150)
    again = tract.movement(phones, 150)
    assert np.array_equal(moved.protrusion, again.protrusion)

    def of(curve, k, share=0.7):
        return curve[int(100 * (phones[k][1] + share * (phones[k][2] - phones[k][1])))]

    assert of(moved.distance, 1, 0.5) < 0.15 < 0.7 < of(moved.distance, 0)
    assert of(moved.protrusion, 3) > 0.8 and of(moved.protrusion, 4, 0.9) < 0.3
    assert np.sum(tract.rounding(moved), 0)[int(100 * phones[3][1]) + 17] > 0.7
