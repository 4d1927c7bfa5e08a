# SPDX-License-Identifier: GPL-3.0-or-later
"""What rooms, microphones and other speakers do to a clip, with the phone times or curves kept true."""

import numpy as np

from ...core.speech.audio import resample


def speed(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Played faster or slower, pitch and formants with it: another speaker. Returns the factor on times as well."""
    rate = int(rng.choice((13600, 14400, 15200, 16800, 17600, 18400)))
    return resample(samples, rate), rate / 16000


def room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    seconds = rng.uniform(0.1, 0.5)
    tail = rng.normal(size=int(16000 * seconds)) * np.exp(-np.arange(int(16000 * seconds)) / (16000 * seconds / 6))
    tail[: int(0.002 * 16000)] = 0
    tail *= rng.uniform(0.1, 0.5) / np.sqrt(np.square(tail).sum())
    size = 1 << int(np.ceil(np.log2(len(samples) + len(tail))))
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size))[: len(samples)]
    return (samples + wet).astype(np.float32)


def noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise at 5 to 35 dB below the speech."""
    size = len(samples)
    spectrum = np.fft.rfft(rng.normal(size=size))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20) ** -rng.uniform(0, 1)
    hiss = np.fft.irfft(spectrum, size)
    level = np.sqrt(np.mean(np.square(samples[np.abs(samples) > 0.05 * np.abs(samples).max()])))
    return (samples + hiss / hiss.std() * level * 10 ** (-rng.uniform(5, 35) / 20)).astype(np.float32)


def equaliser(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random response, sometimes a telephone's band."""
    spectrum = np.fft.rfft(samples)
    hertz = np.linspace(0, 8000, len(spectrum))
    knots = np.array([0, 150, 400, 1000, 2000, 4000, 8000])
    gain = np.interp(hertz, knots, rng.normal(0, 4, len(knots)))
    if rng.random() < 0.15:
        gain = np.where((hertz < 300) | (hertz > 3400), gain - 30, gain)
    return np.fft.irfft(spectrum * 10 ** (gain / 20), len(samples)).astype(np.float32)


def recording(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip as some microphone in some room hears it; timing is kept."""
    for effect, chance in ((equaliser, 0.7), (room, 0.5), (noise, 0.7)):
        if rng.random() < chance:
            samples = effect(samples, rng)
    return (samples * rng.uniform(0.3, 1.2) / max(1e-6, np.abs(samples).max())).astype(np.float32)


def nobody(rng: np.random.Generator) -> np.ndarray:
    """Six seconds in which nobody speaks: hiss, hum, fans, clicks, breaths, or nothing at all."""
    t = np.arange(6 * 16000) / 16000
    spectrum = np.fft.rfft(rng.normal(size=len(t))) * np.maximum(np.arange(len(t) // 2 + 1), 30) ** -rng.uniform(0, 1.2)
    hiss = np.fft.irfft(spectrum, len(t))
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
