# SPDX-License-Identifier: GPL-3.0-or-later
"""Sounds that are not a clean voice: nothing crashes, every number is finite and in range, and in silence the lips are shut.

The voices are the samples that ship; what is done to them is done here. Real singing is read where the recordings lie.
"""

import resource
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from loquent.core.head.head import identity, load_head
from loquent.core.head.motion import ARKIT, INDEX, POSE, Motion
from loquent.core.prior.generate import Controls, default_model, generate
from loquent.core.speech.audio import RATE, Audio, from_samples, read_audio
from loquent.tools.speech_bench import metrics

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data" / "speech"
STILL = Controls(blink_rate=0, head_motion=0, gaze=0, brows=0)
ROTATIONS = [INDEX[name] for name in POSE if not name.startswith("head") or len(name) > 5]


@pytest.fixture(scope="module")
def person():
    return identity(load_head())


@cache
def speaker():
    return default_model()


def voice(name: str = "voice_ada") -> np.ndarray:
    return read_audio(ROOT / "sample_scenes" / f"{name}.flac").samples


def checked(samples: np.ndarray, rate: int = RATE, fps: float = 25, controls: Controls | None = None) -> Motion:
    """The motion of a sound, after what must hold of any."""
    audio = from_samples(samples, rate)
    motion = generate(audio, fps=fps, seed=3, controls=controls or Controls(), model=speaker())
    assert np.isfinite(motion.values).all()
    coefficients = motion.values[:, : len(ARKIT)]
    assert coefficients.min() >= 0 and coefficients.max() <= 1
    assert np.abs(motion.values[:, ROTATIONS]).max() < 1.0  # radians
    assert np.abs(motion.values[:, [INDEX[n] for n in ("headX", "headY", "headZ")]]).max() < 0.1  # metres
    assert len(motion) == max(1, int(np.ceil(audio.seconds * fps - 1e-6)))
    return motion


def music(seconds: float = 6.0) -> np.ndarray:
    """Four chords of plucked strings, a bass, and a drum on every beat: made up, no voice."""
    t = np.arange(int(seconds * RATE)) / RATE
    rng = np.random.default_rng(0)
    out = np.zeros(len(t))
    chords = ((220, 277, 330), (196, 247, 294), (175, 220, 262), (165, 208, 247))
    for beat in range(int(seconds * 2)):
        begin = int(beat / 2 * RATE)
        rest = t[begin:] - t[begin]
        for k, hertz in enumerate(chords[beat // 4 % 4]):
            delay = np.maximum(0, rest - 0.03 * k)
            out[begin:] += sum(np.sin(2 * np.pi * hertz * n * delay) * np.exp(-3 * n * delay) / n for n in range(1, 6))
        out[begin:] += 2 * np.sin(2 * np.pi * chords[beat // 4 % 4][0] / 4 * rest) * np.exp(-4 * rest)
        out[begin:] += rng.normal(size=len(rest)) * np.exp(-40 * rest)
    return (0.4 * out / np.abs(out).max()).astype(np.float32)


def sung() -> np.ndarray:
    """A held vowel a note, with vibrato and an m between: pulses through three resonances."""
    from scipy.signal import lfilter

    vowels = {
        "a": (800, 1200, 2500),
        "e": (450, 2000, 2700),
        "i": (300, 2300, 3000),
        "o": (450, 800, 2500),
        "m": (250, 1100, 2200),
    }
    parts = []
    for k, (name, note) in enumerate(zip("amemimomama", (0, 0, 4, 4, 7, 7, 12, 12, 7, 4, 0), strict=True)):
        t = np.arange(int((0.15 if name == "m" else 0.9) * RATE)) / RATE
        hertz = 196 * 2 ** (note / 12) * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * t + k))
        phase = np.cumsum(hertz) / RATE
        sound = np.diff(np.floor(phase), prepend=0.0) + 0.003 * np.random.default_rng(k).normal(size=len(t))
        for formant in vowels[name]:
            r = np.exp(-np.pi * 90 / RATE)
            sound = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * formant / RATE), r * r], sound)
        parts.append(
            sound / np.abs(sound).max() * (0.25 if name == "m" else 1) * np.minimum(1, np.minimum(t, t[::-1]) / 0.03)
        )
    return (0.4 * np.concatenate(parts)).astype(np.float32)


def whispered(samples: np.ndarray) -> np.ndarray:
    """The voice with its pitch taken away: the phases of a short-time spectrum made random."""
    size, hop = 512, 128
    window = np.sqrt(np.hanning(size + 1)[:-1])
    padded = np.pad(samples, size)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random((len(frames), size // 2 + 1)))
    hissed = np.fft.irfft(np.abs(np.fft.rfft(frames, axis=1)) * phases, axis=1) * window
    out = np.zeros(len(padded) + size)
    for k, frame in enumerate(hissed):
        out[k * hop : k * hop + size] += frame / 2
    return (0.2 * out[size : size + len(samples)]).astype(np.float32)


def shouted(samples: np.ndarray) -> np.ndarray:
    """Louder than full scale, compressed, with the upper partials that shouting has."""
    return (np.tanh(8 * np.diff(samples, prepend=0) * 3 + 4 * samples)).astype(np.float32)


def two_at_once() -> np.ndarray:
    a, b = voice("voice_ada"), voice("voice_bruno")
    return a[: min(len(a), len(b))] + np.roll(b, 3000)[: min(len(a), len(b))]


BAD = {
    "music": music,
    "two speakers": two_at_once,
    "shouting": lambda: shouted(voice()),
    "singing": sung,
    "whisper": lambda: whispered(voice()),
    "clipping": lambda: np.clip(12 * voice(), -0.9, 0.9),
    "far over full scale": lambda: 50 * voice(),
    "hardly there": lambda: 0.01 * voice(),
    "offset": lambda: voice() + np.float32(0.4),
    "offset that clips": lambda: np.clip(voice() + np.float32(0.8), -1, 1),
    "square wave": lambda: np.sign(np.sin(2 * np.pi * 130 * np.arange(3 * RATE) / RATE)).astype(np.float32),
    "one click": lambda: np.eye(1, 2 * RATE, RATE, dtype=np.float32)[0],
    "full-scale noise": lambda: np.random.default_rng(0).uniform(-1, 1, 3 * RATE).astype(np.float32),
    "backwards": lambda: voice()[::-1].copy(),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_sound_gives_a_sound_motion(kind):
    checked(BAD[kind]())


def test_a_sung_line_opens_the_mouth_for_its_vowels(person):
    gaps, _ = metrics.mouth(person, checked(sung(), fps=50, controls=STILL).values)
    held = [
        slice(int((k * 1.05 + 0.3) * 50), int((k * 1.05 + 0.6) * 50)) for k in range(6)
    ]  # 0.9 s of vowel, 0.15 s of m
    assert sum(np.median(gaps[at]) > 1.5 for at in held) >= 4, [round(float(np.median(gaps[at])), 1) for at in held]


@pytest.mark.parametrize(("kind", "least"), [
    ("shouting", 0.7), ("clipping", 0.8), ("offset", 0.9), ("far over full scale", 0.95), ("hardly there", 0.8), ("whisper", 0.5),
])  # fmt: skip
def test_a_damaged_voice_moves_the_mouth_much_as_the_clean_one_does(kind, least, person):
    clean, damaged = (
        metrics.mouth(person, checked(s, fps=50, controls=STILL).values)[0] for s in (voice(), BAD[kind]())
    )
    assert metrics.correlation(clean, damaged) > least


@pytest.mark.parametrize("kind", ["clipping", "offset", "far over full scale", "hardly there"])
def test_lips_still_close_for_p_b_m_in_a_damaged_voice(kind, person):
    import json

    phones = [
        tuple(p) for p in json.loads((ROOT / "sample_scenes" / "voice_ada.phones.json").read_text("utf8"))["phones"]
    ]
    gaps, _ = metrics.mouth(person, checked(BAD[kind](), fps=50, controls=STILL).values)
    found = metrics.count_closures(gaps, 50, phones)
    assert found.closures == 9 and found.closed >= 8


SILENCES = {
    "digital silence": lambda n: np.zeros(n, np.float32),
    "an offset alone": lambda n: np.full(n, 0.25, np.float32),
    "hiss of a good microphone": lambda n: np.random.default_rng(0).normal(0, 3e-4, n).astype(np.float32),
    "hiss of a bad one": lambda n: np.random.default_rng(0).normal(0, 5e-3, n).astype(np.float32),
    "mains hum": lambda n: (0.02 * np.sin(2 * np.pi * 50 * np.arange(n) / RATE)).astype(np.float32),
}


@pytest.mark.parametrize("kind", SILENCES)
def test_lips_are_shut_when_nobody_speaks(kind, person):
    motion = checked(SILENCES[kind](4 * RATE), fps=50, controls=STILL)
    gaps, lips = metrics.mouth(person, motion.values)
    assert gaps.max() < 0.5, f"{gaps.max():.1f} mm open"
    assert np.abs(np.diff(lips, axis=0)).max() < 0.2  # mm a frame


def test_lips_are_shut_in_silence_after_speech_whatever_the_seed_moves(person):
    """Also with everything alive: breath and mood may part no lips in the middle of a long pause."""
    samples = np.concatenate([voice(), np.zeros(4 * RATE, np.float32), voice("voice_bruno")])
    begin = len(voice()) / RATE
    gaps, _ = metrics.mouth(person, checked(samples, fps=50).values)
    pause = gaps[int((begin + 0.5) * 50) : int((begin + 3.0) * 50)]
    assert (pause < 1.5).mean() > 0.9, f"{np.percentile(pause, 90):.1f} mm open"


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_the_sampling_rate_of_the_file_hardly_matters(rate, person):
    from loquent.core.speech.audio import resample

    samples = voice()
    other = resample(resample(samples, RATE), RATE) if rate == RATE else np.interp(
        np.arange(int(len(samples) * rate / RATE)) * RATE / rate, np.arange(len(samples)), samples
    ).astype(np.float32)  # fmt: skip
    one, two = (metrics.mouth(person, checked(s, r, 50, STILL).values)[0] for s, r in ((samples, RATE), (other, rate)))
    assert metrics.correlation(one[: len(two)], two[: len(one)]) > (0.8 if rate < RATE else 0.95)


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is not on Windows")
def test_memory_does_not_grow_with_the_length_beyond_sound_and_curves():
    """Six minutes after one: what a minute more costs is its samples and curves, not windows, features or pictures of them."""
    piece = np.concatenate([voice(), voice("voice_bruno")])

    def minutes(count: float) -> float:
        samples = np.resize(piece, int(count * 60 * RATE))
        generate(Audio(samples), fps=25, controls=STILL, model=speaker())
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6

    first = minutes(1)
    longer = minutes(6)
    per_minute = 60 * RATE * 4 / 1e6  # the samples, MB
    assert longer - first < 5 * per_minute * 6 + 60, f"{first:.0f} MB after 1 minute, {longer:.0f} MB after 6"


@pytest.mark.parametrize("name", ["sing_vocadito_10_solo.wav", "asterisk_fr_demo-instruct.wav", "en_jfk_1961_pd.flac"])
def test_real_recordings_of_all_kinds(name):
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: real recordings are measured against, never shipped")
    audio = read_audio(path)
    motion = checked(audio.samples[: 12 * RATE])
    assert motion.column("jawOpen").max() > 0.1  # they do say or sing something


def test_nobody_is_heard_in_an_empty_transcript_of_words_in_silence(tmp_path):
    """Silence in a file, all the way from the file to the motion: a still, neutral face."""
    import soundfile

    path = tmp_path / "nothing.wav"
    soundfile.write(path, np.zeros((3 * 44100, 2), np.float32), 44100)
    motion = generate(read_audio(path), fps=24, controls=STILL, model=speaker())
    assert len(motion) == 72 and not motion.values.any()
