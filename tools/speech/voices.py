# SPDX-License-Identifier: GPL-3.0-or-later
"""Text-to-speech engines that say when each phone sounds: Kokoro, hibari, flite, espeak-ng.

Every engine yields (samples (n,) float32, rate, phones) with phones as (symbol, start, end) in seconds; "_" is silence.
Kokoro's and hibari's durations come from inside their graphs and are late against the sound they describe; LATE holds
the measured offsets (sibilants against energy above 4 kHz) by which the labels are moved earlier.
"""

import ctypes
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

Phones = list[tuple[str, float, float]]
Spoken = tuple[np.ndarray, int, Phones]

LATE = {"kokoro": 0.048, "hibari": 0.044}
PAUSES = set(' .,!?;:—…"“”()¿¡^$')
MARKS = set("ˈˌ")
DIACRITICS = set("ːʰʲ̃ˑ‿̩↓→↗↘")

MISAKI = {
    "eɪ": "A", "aɪ": "I", "oʊ": "O", "aʊ": "W", "ɔɪ": "Y", "əʊ": "Q", "dʒ": "ʤ", "tʃ": "ʧ", "r": "ɹ", "ɐ": "ə", "g": "ɡ",
}  # fmt: skip
"""espeak's IPA to the letters that Kokoro was trained on."""


def merge(tokens: Phones, late: float) -> Phones:
    """Model tokens to phones: stress marks and spaces belong to the next phone, length marks to the one before."""
    phones: list[list] = []
    carry: float | None = None
    for symbol, start, end in tokens:
        if symbol in MARKS or (symbol == " " and end - start < 0.1):
            carry = start if carry is None else carry
        elif symbol in PAUSES:
            if symbol in "^$" or end - start >= 0.08:
                phones.append(["_", carry if carry is not None else start, end])
                carry = None
            elif phones:
                phones[-1][2] = end
        elif symbol in DIACRITICS:
            if phones:
                phones[-1][2] = end
        else:
            phones.append([symbol, carry if carry is not None else start, end])
            carry = None
    return [(s, max(0.0, b - late), max(0.0, e - late)) for s, b, e in phones if e - late > 0]


class Kokoro:
    """Kokoro-82M, int8 ONNX with its duration tensor exposed; 54 voices and their mixes."""

    rate = 24000

    def __init__(self, folder: Path, threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(folder / "kokoro-dur.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.vocabulary = json.loads((folder / "vocab.json").read_text("utf8"))
        self.voices = {
            p.stem: np.fromfile(p, np.float32).reshape(-1, 256) for p in sorted((folder / "voices").glob("*.bin"))
        }

    def speak(self, ipa: str, style: np.ndarray, speed: float = 1.0) -> Spoken:
        ipa = "".join(c for c in ipa if c in self.vocabulary)[:400]
        tokens = np.array([[0, *(self.vocabulary[c] for c in ipa), 0]], np.int64)
        inputs = {"tokens": tokens, "style": style[len(ipa)][None], "speed": np.array([speed], np.float32)}
        names = {i.name for i in self.session.get_inputs()}
        samples, frames = self.session.run(None, {k: v for k, v in inputs.items() if k in names})
        ends = np.cumsum(np.ravel(frames)) * 600 / self.rate
        starts = ends - np.ravel(frames) * 600 / self.rate
        timed = list(zip(["^", *ipa, "$"], starts.tolist(), ends.tolist(), strict=True))
        return np.ravel(samples), self.rate, merge(timed, LATE["kokoro"])


class Hibari:
    """A fast one-voice student of Kokoro; its own grapheme-to-phoneme rules serve English for both."""

    rate = 24000

    def __init__(self, folder: Path):
        from hibari import Hibari as Engine

        self.engine = Engine(model=str(folder / "hibari-dur.onnx"))

    def phonemes(self, text: str) -> str:
        return " ".join(self.engine.phonemize(text))

    def speak(self, ipa: str, speed: float = 1.0, seed: int = 0) -> Spoken:
        from hibari import dsp

        ipa = "".join(c for c in ipa if c in self.engine.vocab)[:400]
        inputs = {"ids": np.asarray([self.engine.ids(ipa)], np.int64), "speed": np.array([speed], np.float32)}
        outputs = self.engine.sess.run(None, inputs)
        samples = dsp.synth(*[o[0] for o in outputs[:6]], np.random.default_rng(seed))
        ends = np.cumsum(np.ravel(outputs[6])) * 0.025
        starts = ends - np.ravel(outputs[6]) * 0.025
        timed = list(zip(["^", *ipa, "$"], starts.tolist(), ends.tolist(), strict=True))
        return samples.astype(np.float32), self.rate, merge(timed, LATE["hibari"])


ARPABET = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "W", "ax": "ə", "axr": "ɚ", "ay": "I", "b": "b", "ch": "ʧ", "d": "d", "dh": "ð",
    "dx": "ɾ", "eh": "ɛ", "el": "l", "em": "m", "en": "n", "er": "ɜ", "ey": "A", "f": "f", "g": "ɡ", "hh": "h", "hv": "h", "ih": "ɪ",
    "iy": "i", "jh": "ʤ", "k": "k", "l": "l", "m": "m", "n": "n", "ng": "ŋ", "ow": "O", "oy": "Y", "p": "p", "r": "ɹ", "s": "s",
    "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ", "pau": "_", "sil": "_",
}  # fmt: skip


def flite(text: str, voice: str, stretch: float = 1.0) -> Spoken:
    """Debian's flite 2.2: dated voices, exact phone ends."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = [
            "flite",
            "-voice",
            voice,
            "-psdur",
            "--setf",
            f"duration_stretch={stretch}",
            "-t",
            text,
            "-o",
            file.name,
        ]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        samples, rate = soundfile.read(file.name, dtype="float32")
    phones: Phones = []
    start = 0.0
    for item in listing:
        name, end = item.rsplit(":", 1)
        phones.append((ARPABET.get(name.lower(), "ə"), start, float(end)))
        start = float(end)
    return samples, rate, phones


class Espeak:
    """espeak-ng (GPL-3, a tool of the factory only): robotic, but 100 languages with exact phone events and their IPA."""

    class Event(ctypes.Structure):
        _fields_ = [
            ("type", ctypes.c_int), ("uid", ctypes.c_uint), ("text", ctypes.c_int), ("length", ctypes.c_int), ("audio", ctypes.c_int),
            ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", ctypes.c_char * 8),
        ]  # fmt: skip

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.chunks: list[np.ndarray] = []
        self.events: list[tuple[int, str]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(self.Event))
        self.callback = kind(self._collect)
        data = str(Path(espeakng_loader.get_data_path()).parent).encode()
        self.rate = self.library.espeak_Initialize(1, 0, data, 1 | 2)
        self.library.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples, count, events):
        if samples and count > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == 7:
                self.events.append((events[i].sample, events[i].id.decode("utf8", "replace")))
            i += 1
        return 0

    def speak(self, text: str, voice: str, rate: int, pitch: int) -> Spoken:
        self.chunks.clear()
        self.events.clear()
        self.library.espeak_SetVoiceByName(voice.encode())
        for parameter, value in ((1, rate), (3, pitch)):
            self.library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 1, 0, 1, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate(self.chunks).astype(np.float32) / 32768
        ends = [s for s, _ in self.events[1:]] + [len(samples)]
        phones = [
            (name or "_", s / self.rate, e / self.rate) for (s, name), e in zip(self.events, ends, strict=True) if e > s
        ]
        return samples, self.rate, phones


def ipa_of(text: str, language: str) -> str:
    """Kokoro's letters for a sentence, by espeak-ng."""
    import espeakng_loader
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    if language not in _backends:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        _backends[language] = EspeakBackend(
            language, preserve_punctuation=True, with_stress=True, language_switch="remove-flags"
        )
    ipa = _backends[language].phonemize([text])[0].strip()
    for old, new in MISAKI.items():
        if language.startswith("en") or old in ("dʒ", "tʃ", "g"):
            ipa = ipa.replace(old, new)
    return ipa


_backends: dict = {}
