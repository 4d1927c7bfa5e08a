# SPDX-License-Identifier: GPL-3.0-or-later
"""Text-to-speech engines that say when each phone sounds: Kokoro, hibari, piper, flite, espeak-ng.

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

LATE = {"kokoro": 0.048, "hibari": 0.044, "piper": 0.011}
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

    def speak(self, ipa: str, speed: float = 1.0, seed: int = 0, pitch: float = 1.0, formants: float = 1.0) -> Spoken:
        """`pitch` scales the fundamental, `formants` stretches the spectra that the network answers with: other throats."""
        from hibari import dsp

        ipa = "".join(c for c in ipa if c in self.engine.vocab)[:400]
        inputs = {"ids": np.asarray([self.engine.ids(ipa)], np.int64), "speed": np.array([speed], np.float32)}
        outputs = self.engine.sess.run(None, inputs)
        *spectra, f0 = (np.array(o[0], np.float32) for o in outputs[:6])
        if formants != 1:
            at = np.clip(np.round(np.arange(len(spectra[0])) / formants).astype(int), 0, len(spectra[0]) - 1)
            spectra = [np.ascontiguousarray(s[at]) for s in spectra]
        samples = dsp.synth(*spectra, f0 * np.float32(pitch), np.random.default_rng(seed))
        ends = np.cumsum(np.ravel(outputs[6])) * 0.025
        starts = ends - np.ravel(outputs[6]) * 0.025
        timed = list(zip(["^", *ipa, "$"], starts.tolist(), ends.tolist(), strict=True))
        return samples.astype(np.float32), self.rate, merge(timed, LATE["hibari"])


class Piper:
    """piper's voice joe (CC0), a VITS; its own durations, 11 ms late."""

    def __init__(self, folder: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(folder / "joe-dur.onnx"), options, providers=["CPUExecutionProvider"]
        )
        about = json.loads((folder / "joe.json").read_text("utf8"))
        self.rate, self.ids = int(about["audio"]["sample_rate"]), about["phoneme_id_map"]

    def speak(self, ipa: str, length: float = 1.0, seed: int = 0) -> Spoken:
        """espeak's IPA, each letter followed by the blank of the VITS, whose frames are the letter's."""
        import onnxruntime

        letters = ["^", *(c for c in ipa if c in self.ids)][:300] + ["$"]
        ids = [i for c in letters[:-1] for i in (*self.ids[c], *self.ids["_"])] + [*self.ids["$"]]
        onnxruntime.set_seed(seed)
        samples, frames = self.session.run(None, {
            "input": np.array([ids], np.int64), "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([0.667, length, 0.8], np.float32),
        })  # fmt: skip
        seconds = np.ravel(frames) * 256 / self.rate
        ends = np.cumsum(np.append(seconds[:-1].reshape(-1, 2).sum(1), seconds[-1]))
        starts = np.append(0, ends[:-1])
        return (
            np.ravel(samples),
            self.rate,
            merge(list(zip(letters, starts.tolist(), ends.tolist(), strict=True)), LATE["piper"]),
        )


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
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise SystemExit(f"espeak-ng has no voice '{voice}'.")
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


def ipa_of(text: str, language: str, misaki: bool = True) -> str:
    """A sentence's IPA by espeak-ng, in Kokoro's letters unless `misaki` is False; Chinese and kana by rules of our own."""
    if language == "cmn":
        return chinese_ipa(text)
    if language == "ja":
        return kana_ipa(text)
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
    for old, new in MISAKI.items() if misaki else ():
        if language.startswith("en") or old in ("dʒ", "tʃ", "g"):
            ipa = ipa.replace(old, new)
    return ipa


_backends: dict = {}

INITIALS = {
    "b": "p", "p": "pʰ", "m": "m", "f": "f", "d": "t", "t": "tʰ", "n": "n", "l": "l", "g": "k", "k": "kʰ", "h": "x", "j": "ʨ", "q": "ʨʰ",
    "x": "ɕ", "zh": "ꭧ", "ch": "ꭧʰ", "sh": "ʂ", "r": "ɻ", "z": "ʦ", "c": "ʦʰ", "s": "s", "": "",
}  # fmt: skip
FINALS = {
    # "0" marks where the tone goes
    "a": "a0", "ai": "a0i", "an": "a0n", "ang": "a0ŋ", "ao": "a0u", "e": "ɤ0", "ei": "e0i", "en": "ə0n", "eng": "ə0ŋ", "er": "ɚ0", "i": "i0",
    "ia": "ja0", "ian": "jɛ0n", "iang": "ja0ŋ", "iao": "ja0u", "ie": "je0", "in": "i0n", "ing": "i0ŋ", "iong": "jʊ0ŋ", "iou": "jo0u",
    "o": "o0", "ong": "ʊ0ŋ", "ou": "o0u", "u": "u0", "v": "y0", "ve": "ɥe0", "van": "ɥɛ0n", "vn": "y0n", "ua": "wa0", "uai": "wa0i",
    "uan": "wa0n", "uang": "wa0ŋ", "uei": "we0i", "uen": "wə0n", "ueng": "wə0ŋ", "uo": "wo0",
}  # fmt: skip
TONES = {"1": "→", "2": "↗", "3": "↓", "4": "↘", "5": ""}


def chinese_ipa(text: str) -> str:
    """Mandarin through pypinyin (MIT) and its textbook phonology, in Kokoro's letters."""
    from pypinyin import Style, lazy_pinyin

    signs = str.maketrans("，。！？；、", ",.!?;,")
    initials = lazy_pinyin(text, style=Style.INITIALS, strict=True)
    finals = lazy_pinyin(text, style=Style.FINALS_TONE3, strict=True, neutral_tone_with_five=True)
    out = ""
    for initial, final in zip(initials, finals, strict=True):
        if not final or final[-1] not in TONES:
            out += (initial or final).translate(signs)[:1] + " "
            continue
        rhyme, tone = final[:-1], TONES[final[-1]]
        if rhyme == "i" and initial in ("zh", "ch", "sh", "r", "z", "c", "s"):
            rime = "ɨ0"
        elif rhyme == "o" and initial in ("b", "p", "m", "f"):
            rime = "wo0"
        else:
            rime = FINALS.get(rhyme, "ə0")
        out += INITIALS.get(initial, "") + rime.replace("0", tone)
    return out.strip()


KANA = dict(
    pair
    for row, sounds in (
        ("あいうえお", "a i ɯ e o"), ("かきくけこ", "ka ki kɯ ke ko"), ("がぎぐげご", "ɡa ɡi ɡɯ ɡe ɡo"), ("さしすせそ", "sa ɕi sɯ se so"),
        ("ざじずぜぞ", "ʣa ʥi ʣɯ ʣe ʣo"), ("たちつてと", "ta ʨi ʦɯ te to"), ("だぢづでど", "da ʥi ʣɯ de do"), ("なにぬねの", "na ɲi nɯ ne no"),
        ("はひふへほ", "ha çi ɸɯ he ho"), ("ばびぶべぼ", "ba bi bɯ be bo"), ("ぱぴぷぺぽ", "pa pi pɯ pe po"), ("まみむめも", "ma mi mɯ me mo"),
        ("やゆよ", "ja jɯ jo"), ("らりるれろ", "ɾa ɾi ɾɯ ɾe ɾo"), ("わをんっー", "wa o ɴ ʔ ː"), ("、。？！", ", . ? !"),
    )
    for pair in zip(row, sounds.split(), strict=True)
)  # fmt: skip
KANA[" "] = " "
SMALL = {"ゃ": "a", "ゅ": "ɯ", "ょ": "o"}


def kana_ipa(text: str) -> str:
    """Japanese written in hiragana, in Kokoro's letters: ゃ ゅ ょ join the kana before them, long vowels are written ー."""
    out: list[str] = []
    for sign in text:
        if sign in SMALL:
            before = out.pop()[:-1]
            out.append(before + ("" if before in ("ɕ", "ʨ", "ʥ", "ɲ", "ç") else "j") + SMALL[sign])
        else:
            out.append(KANA[sign])
    return "".join(out).replace("ɴb", "mb").replace("ɴp", "mp").replace("ɴm", "mm")
