# SPDX-License-Identifier: GPL-3.0-or-later
"""English phone times from the sound itself: PocketSphinx 5.1.1 (BSD, its model lies in the wheel), words first, then phones.

Against flite's exact segments its onsets are 8 ms off in the median and 98 % lie within 40 ms, which is better than what
neural voices say of themselves.
"""

import re

import numpy as np

from .voices import ARPABET, Phones

PADS, BEAMS = (0.25, 0.0, 0.4), (1e-48, 1e-80, 1e-120)


def aligned(samples: np.ndarray, words: str) -> Phones | None:
    """Phones over 16 kHz samples, or None where a word is unknown or no alignment is found."""
    from pocketsphinx import Config, Decoder

    spoken = re.sub(r"[^a-z' ]", " ", words.lower().replace("’", "'")).split()
    if not spoken or re.search(r"\d", words):
        return None
    for pad in PADS:
        quiet = np.zeros(int(pad * 16000), np.int16)
        sound = np.concatenate((quiet, (np.clip(samples, -1, 1) * 32000).astype("<i2"), quiet)).tobytes()
        for beam in BEAMS:
            decoder = Decoder(Config(lm=None, loglevel="FATAL", beam=beam, wbeam=beam, pbeam=beam))
            if any(decoder.lookup_word(word) is None for word in spoken):
                return None
            try:
                decoder.set_align_text(" ".join(spoken))
                _heard(decoder, sound)
                if decoder.hyp() is None:
                    continue
                decoder.set_alignment()
                _heard(decoder, sound)
            except RuntimeError:
                continue
            return _phones(decoder, pad, len(samples) / 16000)
    return None


def _heard(decoder, sound: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()


def _phones(decoder, pad: float, seconds: float) -> Phones:
    out: Phones = []
    for word in decoder.get_alignment():
        silent = word.name.startswith(("<", "(", "["))
        for phone in (word,) if silent else word:
            begin = np.clip(phone.start / 100 - pad, 0, seconds)
            end = np.clip((phone.start + phone.duration) / 100 - pad, 0, seconds)
            if end > begin:
                out.append(("_" if silent else ARPABET.get(phone.name.lower(), "ə"), float(begin), float(end)))
    return out
