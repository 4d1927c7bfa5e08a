# SPDX-License-Identifier: GPL-3.0-or-later
"""The speech network in torch, for training and export; the extension runs its ONNX twin through regression.py.

A plain regression: dilated convolutions over encoder features and log-mel, about 0.7 s of context to each side, with a
style that says whose articulation to imitate (the corpus' synthetic one, the captured actor's, or a mix).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .mouth import MOUTH, OUTPUTS

STYLES = ("synthetic", "captured")


@dataclass(frozen=True)
class Shape:
    features: int = 384
    mels: int = 160  # two columns of 80
    width: int = 96
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    dropout: float = 0.1


SHAPE = Shape()


class Mouth(nn.Module):
    """features (B, T, 384), mel (B, T, 160), style (B, 2) -> (B, T, len(OUTPUTS)); the states lie in 0..1."""

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, shape: Shape = SHAPE):
        super().__init__()
        w = shape.width
        self.register_buffer("feature_mean", torch.zeros(shape.features))
        self.register_buffer("feature_scale", torch.ones(shape.features))
        self.from_features = nn.Linear(shape.features, w)
        self.from_mel = nn.Conv1d(shape.mels, w // 2, 3, padding=1)
        self.join = nn.Conv1d(w + w // 2, w, 3, padding=1)
        pads = [d * (shape.kernel - 1) // 2 for d in shape.dilations]
        self.blocks = nn.ModuleList(
            nn.Conv1d(w, w, shape.kernel, dilation=d, padding=p) for d, p in zip(shape.dilations, pads, strict=True)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(w, w, 1) for _ in shape.dilations)
        self.films = nn.ModuleList(nn.Linear(len(STYLES), 2 * w) for _ in shape.dilations)
        self.out = nn.Conv1d(w, len(OUTPUTS), 1)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, features: Tensor, mel: Tensor, style: Tensor) -> Tensor:
        f = self.from_features(self.dropout(((features - self.feature_mean) * self.feature_scale).clamp(-6, 6)))
        m = self.from_mel(mel.transpose(1, 2))
        x = self.join(torch.cat((f.transpose(1, 2), m), 1))
        for block, mix, film in zip(self.blocks, self.mixes, self.films, strict=True):
            scale, shift = film(style)[:, :, None].chunk(2, 1)
            x = x + mix(self.dropout(nn.functional.gelu(block(x) * (1 + scale) + shift)))
        y = self.out(nn.functional.gelu(x)).transpose(1, 2)
        return torch.cat((y[..., : len(MOUTH)], torch.sigmoid(y[..., len(MOUTH) :])), -1)
