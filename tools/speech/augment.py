# SPDX-License-Identifier: GPL-3.0-or-later
"""What rooms, microphones and other speakers do to a clip, with the phone times or curves kept true."""

import numpy as np
from scipy import fft  # keeps float32, where numpy 1.26 goes through float64

from ...core.speech.audio import resample


def speed(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Played faster or slower, pitch and formants with it: another speaker. Returns the factor on times as well."""
    rate = int(rng.choice((13600, 14400, 15200, 16800, 17600, 18400)))
    return resample(samples, rate), rate / 16000


def _throat_rate(pitch: float) -> int:
    """Rate that samples are taken to have, in steps of 100 so that the resampler's filters stay small."""
    slowed = round(16000 / pitch / 100) * 100
    return 16000 if slowed == 16000 else round(16000 * 16000 / slowed / 100) * 100


def throat_length(samples: int, pitch: float) -> int:
    """How many samples `throat` makes of that many."""
    return -(-samples * 16000 // _throat_rate(pitch))


def throat(samples: np.ndarray, pitch: float, formants: float) -> tuple[np.ndarray, float]:
    """Another speaker: played `pitch` times as fast, and the spectral envelope stretched by formants / pitch after that.

    Returns the samples and the factor on times. The envelope is the cepstrum below 2 ms of 32 ms frames; its ratio to the
    stretched one filters the frames, phases stay.
    """
    rate = _throat_rate(pitch)
    heard = resample(np.asarray(samples, np.float32), rate) if rate != 16000 else samples
    factor = len(heard) / max(1, len(samples))
    ratio = formants * factor
    if abs(ratio - 1) < 0.01:
        return heard, factor
    size, hop = 512, 128
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)).astype(np.float32)
    padded = np.pad(heard, (size, size + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = fft.rfft(frames, axis=1)
    cepstrum = fft.irfft(np.log(np.abs(spectra) + 1e-5), axis=1)
    cepstrum[:, 32:-31] = 0
    envelope = fft.rfft(cepstrum, axis=1).real
    at = np.arange(size // 2 + 1) / ratio
    low = np.minimum(at.astype(int), size // 2)
    high, mix = np.minimum(low + 1, size // 2), at - low
    stretched = envelope[:, low] * (1 - mix) + envelope[:, high] * mix
    frames = fft.irfft(spectra * np.exp(np.clip(stretched - envelope, -4, 3)), axis=1) * window
    out = np.zeros(len(padded) + size, np.float32)
    for start in range(size // hop):
        part = frames[start :: size // hop].reshape(-1)
        out[start * hop : start * hop + len(part)] += part
    return out[size : size + len(heard)] / 2, factor


def _spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Spectrum of a clip padded to a quick length, the hertz of its bins, that length."""
    size = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(np.asarray(samples, np.float32), size)
    return spectrum, np.linspace(0, 8000, len(spectrum), dtype=np.float32), size


def room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    seconds = rng.uniform(0.1, 0.5)
    tail = rng.normal(size=int(16000 * seconds)) * np.exp(-np.arange(int(16000 * seconds)) / (16000 * seconds / 6))
    tail[: int(0.002 * 16000)] = 0
    tail *= rng.uniform(0.1, 0.5) / np.sqrt(np.square(tail).sum())
    size = fft.next_fast_len(len(samples) + len(tail), real=True)
    wet = fft.irfft(fft.rfft(samples, size) * fft.rfft(tail.astype(np.float32), size), size)[: len(samples)]
    return (samples + wet).astype(np.float32)


def noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 to 35 dB below the speech: coloured noise, or, one time of four, the murmur of others (the clip itself, backwards)."""
    size = len(samples)
    if rng.random() < 0.25:
        hiss = np.zeros(size)
        for _ in range(rng.integers(3, 7)):
            hiss += np.roll(samples[::-1], rng.integers(size)) * rng.uniform(0.4, 1)
    else:
        spectrum, hertz, padded = _spectrum(rng.standard_normal(size, np.float32))
        spectrum *= np.maximum(hertz, 4) ** np.float32(-rng.uniform(0, 1))
        hiss = fft.irfft(spectrum, padded)[:size]
    level = np.sqrt(np.mean(np.square(samples[np.abs(samples) > 0.05 * np.abs(samples).max()])))
    return (samples + hiss / (hiss.std() + 1e-9) * level * 10 ** (-rng.uniform(0, 35) / 20)).astype(np.float32)


def equaliser(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random response."""
    spectrum, hertz, size = _spectrum(samples)
    knots = np.array([0, 150, 400, 1000, 2000, 4000, 8000])
    gain = np.interp(hertz, knots, rng.normal(0, 4, len(knots)))
    return fft.irfft(spectrum * (10 ** (gain / 20)).astype(np.float32), size)[: len(samples)].astype(np.float32)


def telephone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone's band and the 8 bits of its mu-law; nothing above 4 kHz is left but what the coding adds below it."""
    spectrum, hertz, size = _spectrum(samples)
    low, high = rng.uniform(80, 350), rng.uniform(3000, 3900)
    spectrum *= 1 / np.sqrt((1 + (low / np.maximum(hertz, 1)) ** 8) * (1 + (hertz / high) ** 24))
    narrow = fft.irfft(spectrum, size)[: len(samples)]
    x = narrow / max(1e-6, np.abs(narrow).max())
    coded = np.sign(x) * np.expm1(np.round(np.log1p(255 * np.abs(x)) / np.log(256) * 127) / 127 * np.log(256)) / 255
    spectrum, hertz, size = _spectrum(coded)
    spectrum[hertz > 4000] = 0
    return fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def clipping(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    limit = np.abs(samples).max() * rng.uniform(0.15, 0.6)
    return np.clip(samples, -limit, limit)


def recording(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip as some microphone in some room hears it; timing is kept."""
    for effect, chance in ((equaliser, 0.7), (room, 0.5), (noise, 0.7), (clipping, 0.06), (telephone, 0.15)):
        if rng.random() < chance:
            samples = effect(samples, rng)
    return (samples * rng.uniform(0.1, 1.2) / max(1e-6, np.abs(samples).max())).astype(np.float32)


def nobody(rng: np.random.Generator) -> np.ndarray:
    """Six seconds in which nobody speaks: hiss, hum, fans, clicks, breaths, or nothing at all."""
    t = np.arange(6 * 16000) / 16000
    spectrum = fft.rfft(rng.normal(size=len(t))) * np.maximum(np.arange(len(t) // 2 + 1), 30) ** -rng.uniform(0, 1.2)
    hiss = fft.irfft(spectrum, len(t))
    sound = hiss / hiss.std() * 10 ** (rng.uniform(-70, -25) / 20)
    if rng.random() < 0.4:
        hum = sum(np.sin(2 * np.pi * k * rng.choice((50, 60)) * t) / k for k in range(1, 6))
        sound = sound + hum * 10 ** (rng.uniform(-60, -25) / 20)
    if rng.random() < 0.3:
        sound = sound * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 8) * t))
    if rng.random() < 0.4:
        for at in rng.integers(0, len(t) - 800, rng.integers(1, 12)):
            sound[at : at + 800] += (
                rng.normal(size=800) * np.exp(-np.arange(800) / rng.uniform(20, 150)) * rng.uniform(0.01, 0.2)
            )
    if rng.random() < 0.4:
        for start in rng.uniform(0, 5, 3):
            breath = hiss / hiss.std() * 0.02 * np.exp(-0.5 * ((t - start) / rng.uniform(0.08, 0.25)) ** 2)
            sound = sound + breath
    return (sound * (rng.random() > 0.1)).astype(np.float32)
