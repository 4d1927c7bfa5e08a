# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of the prior in torch, for training and export; the extension runs their ONNX twins through model.py.

Three of them. `Listener` turns what is heard into tokens, a plain regression of the mouth and the three states of the lips;
it runs once a window. `Denoiser` is the diffusion transformer (GGTalker's Audio-Expression half: self-attention, cross-attention
to the audio, the step by FiLM and as a token, the answer is the clean motion's part); it runs once a step and knows nothing of any
noise schedule: it is told one number for how noisy its input is. `StyleEncoder` turns statistics of somebody's motion into the 64
numbers both are conditioned on, so that an example of a few seconds is a style without training.

Diffusion runs on what the regression leaves open (the scaled motion minus the Listener's answer), which is what lets few
steps and a small network do: where the sound decides the mouth, nothing is left to denoise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .mouth import MOUTH, STATES, STYLE_NUMBERS

CHANNELS = len(MOUTH)
STYLE = 64


@dataclass(frozen=True)
class Shape:
    features: int = 384
    mels: int = 160  # two columns of 80
    width: int = 128
    heads: int = 4
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1)  # of the Listener's convolutions, kernel 5
    depth: int = 4  # layers of the Denoiser
    self_reach: int = 60  # frames to each side that a frame attends to in the motion
    cross_reach: int = 12  # ... and in the audio; aligned, so nearby sound is all there is to find
    dropout: float = 0.1


SHAPE = Shape()


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, heads: int) -> Tensor:
    """(B, T, d) queries over (B, S, d) keys with (heads, T, S) added to the scores, in single precision."""

    def split(x: Tensor) -> Tensor:
        return x.float().unflatten(2, (heads, -1)).transpose(1, 2)

    with torch.autocast(q.device.type, enabled=False):
        found = functional.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias[None].float())
    return found.transpose(1, 2).flatten(2)


def nearness(frames: Tensor, heads: int, reach: int) -> Tensor:
    """(heads, T, T) score bias by distance for T = frames.shape[1]: each head its slope (ALiBi, Press et al. 2022, both ways).

    Fixed, not learned: gradients of a T by T bias would cost more than the rest of the layer.
    """
    at = torch.ones_like(frames[0, :, 0]).cumsum(0)
    distance = (at[:, None] - at[None, :]).abs()
    slopes = torch.logspace(-1.6, 0.0, heads, device=frames.device, dtype=frames.dtype) * (12 / reach)
    return -distance[None] * slopes[:, None, None] - 1e4 * (distance > reach).to(frames.dtype)[None]


class StyleEncoder(nn.Module):
    """(B, STYLE_NUMBERS) of mouth.style_numbers -> (B, 64) within -1..1."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(STYLE_NUMBERS, 96), nn.GELU(), nn.Linear(96, STYLE), nn.Tanh())

    def forward(self, numbers: Tensor) -> Tensor:
        return self.net(numbers)


class Listener(nn.Module):
    """features (B, T, 384), mel (B, T, 160), style (B, 64) ->

    tokens (B, T, width); mean (B, T, 17), the regression of the channels in units of `scale`; states (B, 2T, 3) logits at 100 Hz.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    scale: Tensor

    def __init__(self, shape: Shape = SHAPE):
        super().__init__()
        w = shape.width
        self.shape = shape
        self.register_buffer("feature_mean", torch.zeros(shape.features))
        self.register_buffer("feature_scale", torch.ones(shape.features))
        self.register_buffer("scale", torch.ones(CHANNELS))
        self.from_features = nn.Linear(shape.features, w)
        self.from_mel = nn.Conv1d(shape.mels, w // 2, 3, padding=1)
        self.join = nn.Conv1d(w + w // 2, w, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv1d(w, w, 5, dilation=d, padding=2 * d) for d in shape.dilations)
        self.mixes = nn.ModuleList(nn.Conv1d(w, w, 1) for _ in shape.dilations)
        self.films = nn.ModuleList(nn.Linear(STYLE, 2 * w) for _ in shape.dilations)
        self.norm = nn.LayerNorm(w)
        self.qkv, self.attended = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.tokens = nn.Linear(w, w)
        self.mean = nn.Sequential(nn.Linear(w, w), nn.GELU(), nn.Linear(w, CHANNELS))
        # the states hear the mel again: the encoder's features alone are blurred over some 40 ms
        self.near_mel = nn.Conv1d(shape.mels, w // 2, 3, padding=1)
        self.edges = nn.Conv1d(w + w // 2, w, 3, padding=1)
        self.states = nn.Conv1d(w, 2 * len(STATES), 3, padding=1)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, features: Tensor, mel: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = self.from_features(self.dropout(((features - self.feature_mean) * self.feature_scale).clamp(-6, 6)))
        sound = mel.transpose(1, 2)
        x = self.join(torch.cat((f.transpose(1, 2), self.from_mel(sound)), 1))
        for block, mix, film in zip(self.blocks, self.mixes, self.films, strict=True):
            gain, shift = film(style)[:, :, None].chunk(2, 1)
            x = x + mix(self.dropout(functional.gelu(block(x) * (1 + gain) + shift)))
        states = torch.cat((x, functional.gelu(self.near_mel(sound))), 1)
        states = self.states(self.dropout(functional.gelu(self.edges(states)))).transpose(1, 2)  # (B, T, 6)
        x = x.transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, 2)
        x = x + self.attended(_attend(q, k, v, nearness(x, self.shape.heads, self.shape.self_reach), self.shape.heads))
        halves = states.unflatten(2, (2, len(STATES))).flatten(1, 2)
        return self.tokens(x), self.mean(x), halves


class Layer(nn.Module):
    """Self-attention over the motion, cross-attention to the audio, MLP; each modulated by the step and the style."""

    def __init__(self, shape: Shape):
        super().__init__()
        w = shape.width
        self.heads = shape.heads
        self.norms = nn.ModuleList(nn.LayerNorm(w, elementwise_affine=False) for _ in range(3))
        self.film = nn.Linear(w, 9 * w)
        self.qkv, self.attended = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.q, self.kv, self.heard = nn.Linear(w, w), nn.Linear(w, 2 * w), nn.Linear(w, w)
        self.mlp = nn.Sequential(nn.Linear(w, 2 * w), nn.GELU(), nn.Linear(2 * w, w))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, memory: Tensor, about: Tensor, near: Tensor, aligned: Tensor) -> Tensor:
        a, b, c, d, e, f, g, h, i = self.film(functional.gelu(about))[:, None].chunk(9, 2)
        q, k, v = self.qkv(self.norms[0](x) * (1 + a) + b).chunk(3, 2)
        x = x + (1 + c) * self.attended(_attend(q, k, v, near, self.heads))
        k, v = self.kv(memory).chunk(2, 2)
        x = x + (1 + d) * self.heard(_attend(self.q(self.norms[1](x) * (1 + e) + f), k, v, aligned, self.heads))
        return x + (1 + g) * self.mlp(self.norms[2](x) * (1 + h) + i)


class Denoiser(nn.Module):
    """noisy (B, T, 17), noise (B,), tokens (B, T, width), style (B, 64), before (B, T, 17), known (B, T, 1), heard (B,) -> (B, T, 17).

    `before` holds frames already performed where `known` is 1. `heard` 0 drops the audio (classifier-free guidance). All in the
    regression's remainder; the scale of `noisy` and `noise` is diffusion.py's affair.
    """

    def __init__(self, shape: Shape = SHAPE):
        super().__init__()
        w = shape.width
        self.shape = shape
        self.enter = nn.Conv1d(2 * CHANNELS + 1, w, 3, padding=1)
        self.nothing = nn.Parameter(torch.zeros(w))
        self.aligned = nn.Linear(w, w)
        self.waves: Tensor
        self.register_buffer("waves", torch.logspace(-1, 1.5, 16))
        self.step = nn.Sequential(nn.Linear(32, w), nn.GELU(), nn.Linear(w, w))
        self.manner = nn.Linear(STYLE, w)
        self.token = nn.Linear(w, w)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(w)
        self.leave = nn.Linear(w, CHANNELS)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self, noisy: Tensor, noise: Tensor, tokens: Tensor, style: Tensor, before: Tensor, known: Tensor, heard: Tensor
    ) -> Tensor:
        heard = heard[:, None, None]
        tokens = tokens * heard + self.nothing * (1 - heard)
        phase = noise[:, None] * self.waves
        step = self.step(torch.cat((phase.sin(), phase.cos()), 1))
        about = step + self.manner(style)
        memory = torch.cat((self.token(step)[:, None], tokens), 1)
        entered = torch.cat((noisy * (1 - known), before * known, known), 2)
        x = self.enter(entered.transpose(1, 2)).transpose(1, 2) + self.aligned(tokens)
        near = nearness(x, self.shape.heads, self.shape.self_reach)
        aligned = nearness(x, self.shape.heads, self.shape.cross_reach)
        aligned = functional.pad(aligned, (1, 0))  # the step's token stands first and is near to all
        for layer in self.layers:
            x = layer(x, memory, about, near, aligned)
        return self.leave(self.norm(x))
