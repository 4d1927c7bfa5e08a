# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture's projection in, the Gaussians of a whole head out, in two stages over the UV map.

Stage 1 answers for the slots that the picture shows, from its colours, normals, depth and matte. Stage 2 answers for the
hidden ones, from the mirrored half of the picture and from the Gaussians of stage 1 (as the Sym-Gaussian decoder of
MGGTalk, Gong et al. 2025, is given the visible Gaussians). A slot is one or the other by its visibility, so that mirrored
and seen never lie upon each other, and of what stands off the skin a voxel filter drops hidden Gaussians that fell among
seen ones. Everything is a bounded residual on the start map; the picture's own colour is passed on beside the network.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ... import checkpoint
from ...assets import data_file
from ...geometry.triangles import barycentric_points, triangle_frames
from ...head.head import Head, identity, load_head
from ...splats.uv_layout import SIZE, VOLUME, UvLayout, uv_layout
from .maps import CHANNELS, COLOUR, OFFSET, OPACITY, ROTATION, SCALE, SKIN, start_map
from .maps_torch import densify, neighbours
from .network import UNet, folded
from .projection import RISES, Projection

FORMAT, VERSION = "Loquent visual prior", 1
WEIGHTS = "visual.safetensors"
GAMMA = 2.2
VOXEL = 0.006
"""Metres a side."""
FACE, HAIR, CLOTH = range(3)
KINS = 3
"""What a slot's colour may be told from: by where it lies."""
COLLAR = ((-0.05, -0.075), (0.05, -0.125))
"""Metres: z and height of the mean head's collar, behind and in front."""
REACH = {"skin": 0.0035, "lips": 0.0015, "eye_left": 0.0003, "eye_right": 0.0003, "teeth_upper": 0.0006,
         "teeth_lower": 0.0006, "gums": 0.0008, "tongue": 0.0010, "mouth_interior": 0.0015, "lashes": 0.0015}  # fmt: skip
"""Metres that a Gaussian of layer 0 may leave its place."""
REACH_VOLUME = {"along": 0.016, "down": 0.008, "up": 0.075}
"""The same for layer 1, from VOLUME_RISE above the skin."""


@dataclass(frozen=True)
class Switches:
    """What an ablation turns off; all on in use. depth: whether Gaussians may leave the mesh."""

    symmetry: bool = True
    filter: bool = True
    second: bool = True
    depth: bool = True


ALL = Switches()


@dataclass(frozen=True)
class Inputs:
    """A projection as tensors of M slots: colour (M, 3) gamma-encoded, visible (M, 1), lie (M, 4): normal and depth,
    outline (M, R), rest (M, 3) where the slot lies on this person."""

    colour: Tensor
    visible: Tensor
    lie: Tensor
    outline: Tensor
    rest: Tensor


class Canvas(nn.Module):
    """What the networks know of a layout: where slots lie on the maps, what they are, how far they may go."""

    # buffers, so that a device takes them along
    places: Tensor
    mirror: Tensor
    volume: Tensor
    about: Tensor
    start: Tensor
    start_colour: Tensor
    reach_up: Tensor
    reach_down: Tensor
    reach_along: Tensor
    growth: Tensor
    skin: Tensor
    plane: Tensor
    speaks: Tensor
    points: Tensor
    axes: Tensor
    pitch: Tensor

    def __init__(self, head: Head, layout: UvLayout) -> None:
        super().__init__()
        self.head, self.layout, self.size = head, layout, layout.size
        volume = layout.layer == VOLUME
        names = np.array(head.region_names)[layout.regions]
        soft = {n: np.einsum("nk,nk->n", layout.bary, head.masks[n][head.faces[layout.triangles]])
                for n in ("scalp", "beard", "ears", "eyelids", "brow_left", "brow_right")}  # fmt: skip
        inner = np.isin(names, ["teeth_upper", "teeth_lower", "gums", "tongue", "mouth_interior"])
        eyes = np.isin(names, ["eye_left", "eye_right"])
        about = [soft["scalp"], soft["beard"], soft["ears"], soft["eyelids"], soft["brow_left"] + soft["brow_right"],
                 inner, eyes, names == "lips", np.log(layout.pitch / 0.003), np.ones(len(layout))]  # fmt: skip
        start = start_map(head, layout)
        reach = np.array([REACH[n] for n in names])
        up, down, along = (np.where(volume, REACH_VOLUME[k], reach) / layout.pitch for k in ("up", "down", "along"))
        points = barycentric_points(head.template, head.faces, layout.triangles, layout.bary)
        kin, speaks = _kins(layout, points, soft["scalp"], soft["beard"], np.isin(names, ["skin", "lips"]))
        arrays = {
            "plane": (volume * KINS + kin).astype(np.int64), "speaks": speaks[:, None],
            "places": (layout.rows * layout.size + layout.cols).astype(np.int64),
            "mirror": layout.mirror.astype(np.int64), "volume": volume, "about": np.stack(about, 1), "start": start,
            "start_colour": np.clip(start[:, COLOUR], 1e-4, 1) ** (1 / GAMMA),
            "reach_up": up, "reach_down": down, "reach_along": along,
            "growth": np.where(volume, np.log(4.0), np.log(2.0))[:, None],
            "skin": (np.isin(names, ["skin", "lips"]))[:, None], "points": points,
            "axes": _axes(head, layout), "pitch": layout.pitch[:, None],
        }  # fmt: skip
        for name, array in arrays.items():
            kept = array if array.dtype in (np.int64, np.bool_) else array.astype(np.float32)
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(kept)), persistent=False)

    def put(self, surface: Tensor, volume: Tensor) -> Tensor:
        """(1, A + B, S, S): the slots' features (M, A) of layer 0 and (M, B) of layer 1 on the map."""
        out = surface.new_zeros(surface.shape[1] + volume.shape[1], self.size * self.size)
        low, high = ~self.volume, self.volume
        out[: surface.shape[1], self.places[low]] = surface[low].T
        out[surface.shape[1] :, self.places[high]] = volume[high].T
        return out.view(1, -1, self.size, self.size)

    def take(self, maps: Tensor) -> Tensor:
        """(M, C) of maps (1, 2 C, S, S): the first half is layer 0's, the second layer 1's."""
        flat = maps.reshape(2, -1, self.size * self.size)
        return flat[self.volume.long(), :, self.places]

    def filled(self, colour: Tensor, weight: Tensor) -> Tensor:
        """(M, 3): known colours (M, 3) of weights (M, 1) spread over the slots of the same kin, coarse where little is known
        near. Of layer and kin, so that hair which is not seen takes on the hair that is, and not the face below it."""
        side = self.size
        weight = weight * self.speaks
        planes = colour.new_zeros(2 * KINS, 4, side * side)
        planes[self.plane, :, self.places] = torch.cat([colour * weight, weight], 1)
        pyramid = [planes.view(2 * KINS, 4, side, side)]
        while pyramid[-1].shape[-1] % 2 == 0 and pyramid[-1].shape[-1] > 3:
            pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
        known = pyramid[-1].mean((2, 3), keepdim=True)
        # nothing of a kin known: the same kin's in the other layer, else anything
        known = known + 1e-3 * known.roll(KINS, 0) + 1e-5 * known.mean(0, keepdim=True)
        known = known.expand_as(pyramid[-1])
        colours = known[:, :3] / known[:, 3:].clamp_min(1e-9)
        for level in reversed(pyramid):
            if colours.shape[-1] != level.shape[-1]:
                larger = functional.interpolate(folded(colours), scale_factor=2.0, mode="bilinear", align_corners=False)
                colours = larger[..., 2:-2, 2:-2]
            w = level[:, 3:]
            sure = (w * 4).clamp(max=1.0)
            colours = colours + sure * (level[:, :3] / w.clamp_min(1e-6) - colours)
        return colours.flatten(2)[self.plane, :, self.places]


class Generator(nn.Module):
    """Both stages on one canvas."""

    def __init__(self, canvas: Canvas, widths: tuple[int, ...] = (32, 48, 72, 96)) -> None:
        super().__init__()
        self.canvas, self.widths = canvas, tuple(widths)
        about = canvas.about.shape[1] + 3
        mirrored = 3 + 1 + len(RISES)
        given = 3 + 1 + 4 + len(RISES) + about
        self.first = UNet(2 * given, 2 * CHANNELS, self.widths)
        self.second = UNet(2 * (mirrored + 3 + CHANNELS + 1 + 4 + about), 2 * (CHANNELS + 1), self.widths)
        with torch.no_grad():  # hair that is almost invisible would learn nothing
            for net, made in ((self.first, CHANNELS), (self.second, CHANNELS + 1)):
                net.head.bias[made + OPACITY] = 0.25  # pyright: ignore[reportOptionalSubscript]

    def forward(self, x: Inputs, switches: Switches = Switches()) -> Tensor:
        """(M, 14) values of every slot."""
        c = self.canvas
        seen = x.visible
        about = torch.cat([c.about, x.rest * 8], 1)
        first_in = torch.cat([x.colour * seen, seen, x.lie, x.outline, about], 1)
        made = self.first(c.put(first_in, first_in))
        light = self._light(x)
        if not switches.symmetry:
            other, other_seen, other_outline = (torch.zeros_like(t) for t in (x.colour, seen, x.outline))
        else:
            other, other_seen, other_outline = x.colour[c.mirror], seen[c.mirror], x.outline[c.mirror]
        first = c.take(made)
        near = c.filled(x.colour, seen)  # what is seen, and round it what is seen nearest
        near = torch.where(c.skin, near, c.start_colour * light)
        shown = seen * x.colour + (1 - seen) * near
        visible = self._values(first, shown, 0.35, switches)
        # only what is hidden may speak for a place; the mirrored only where nothing is seen
        both = c.filled(*_mean(x.colour, seen, other, other_seen * (1 - seen)))
        both = torch.where(c.skin, both, c.start_colour * light)
        base = other_seen * other + (1 - other_seen) * both
        if switches.second:
            told = [other * other_seen, other_seen, other_outline, shown, first.tanh() * seen, seen, x.lie, about]
            told = torch.cat(told, 1)
            second = c.take(self.second(c.put(told, told)))
            # light from one side makes the mirrored half wrong in brightness: the network weighs it against what is near
            trust = torch.sigmoid(second[:, CHANNELS:])
            base, second = near + trust * (base - near), second[:, :CHANNELS]
        else:
            second = first
        hidden = self._values(second, base, 0.6, switches)
        if not switches.filter:
            return torch.cat([_faded(visible, seen), _faded(hidden, torch.ones_like(seen))])
        values = seen * visible + (1 - seen) * hidden
        return self._filtered(values, seen)

    def trust_mirror(self) -> None:
        """Takes mirrored colours as they are: of an untrained generator, the projected and mirrored picture."""
        with torch.no_grad():
            self.second.head.bias[CHANNELS :: CHANNELS + 1] = 30.0  # pyright: ignore[reportOptionalSubscript]

    def _light(self, x: Inputs) -> Tensor:
        """How much brighter the seen skin is than plain skin, gamma-encoded: what is never seen is lit as that is."""
        weight = x.visible * self.canvas.skin * (1 - self.canvas.about[:, :2].sum(1, keepdim=True).clamp(0, 1))
        mean = (x.colour * weight).sum(0).mean() / weight.sum().clamp_min(1.0)
        plain = float(np.mean(np.array(SKIN) ** (1 / GAMMA)))
        # dark skin is no darkness: half of the difference counts as light
        return (0.5 + 0.5 * mean / plain).clamp(0.4, 1.4) if float(weight.sum()) > 20 else mean.new_ones(())

    def _values(self, raw: Tensor, base: Tensor, swing: float, switches: Switches) -> Tensor:
        """(M, 14) of what a network said (M, 14), round the start map and gamma-encoded colours (M, 3)."""
        c = self.canvas
        bound = torch.tanh(raw)
        x, y, z = bound[:, OFFSET].unbind(1)
        normal = torch.where(y > 0, y * c.reach_up, y * c.reach_down)
        offset = torch.stack([x * c.reach_along, normal, z * c.reach_along], 1)
        if not switches.depth:
            offset = torch.zeros_like(offset)
        turn = bound[:, ROTATION] * 0.4
        opacity = bound[:, OPACITY] * torch.where(c.volume, 9.0, 4.0)
        colour = (base + swing * bound[:, COLOUR]).clamp(0.004, 1.3) ** GAMMA
        s = c.start
        return torch.cat(
            [
                s[:, OFFSET] + offset, s[:, SCALE] + bound[:, SCALE] * c.growth, s[:, ROTATION] + turn, colour,
                (s[:, OPACITY] + opacity)[:, None],
            ], 1,
        )  # fmt: skip

    def _filtered(self, values: Tensor, seen: Tensor) -> Tensor:
        """The same values; hidden Gaussians above the skin that share a voxel with a seen one are made transparent."""
        c = self.canvas
        with torch.no_grad():
            at = c.points + torch.einsum("nij,nj->ni", c.axes, values[:, OFFSET] * c.pitch)
            cell = torch.floor(at / VOXEL).long() + 512
            key = (cell[:, 0] * 1024 + cell[:, 1]) * 1024 + cell[:, 2]
            solid = (seen[:, 0] > 0.5) & (values[:, OPACITY] > -1)
            among = torch.isin(key, key[solid]) & (seen[:, 0] < 0.3) & c.volume
        drop = torch.zeros_like(values)
        drop[among, OPACITY] = 12.0
        return values - drop


def _mean(a: Tensor, weight_a: Tensor, b: Tensor, weight_b: Tensor) -> tuple[Tensor, Tensor]:
    total = weight_a + weight_b
    return (a * weight_a + b * weight_b) / total.clamp_min(1e-6), total


def _faded(values: Tensor, weight: Tensor) -> Tensor:
    """The same values with opacities times weights (M, 1)."""
    opacity = (torch.sigmoid(values[:, OPACITY]) * weight[:, 0]).clamp(1e-4, 1 - 1e-4)
    return torch.cat([values[:, :OPACITY], torch.logit(opacity)[:, None]], 1)


def _kins(
    layout: UvLayout, points: np.ndarray, scalp: np.ndarray, beard: np.ndarray, skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(M,) FACE, HAIR or CLOTH and (M,) 0..1 how much a slot's colour says of its kin. What stands off the head beside the
    beard is hair, but the scalp knows best of what colour; eyes and teeth say nothing of skin."""
    volume = layout.layer == VOLUME
    hair = (scalp > 0.5) | (volume & (beard < 0.3))
    (back, high), (front, low) = COLLAR
    below = points[:, 1] < np.interp(points[:, 2], [back, front], [high, low])
    kin = np.where(below, CLOTH, np.where(hair, HAIR, FACE))
    speaks = np.where(kin == HAIR, np.maximum(scalp**2, 0.02), 1.0) * skin
    return kin, speaks.astype(np.float32)


def _axes(head: Head, layout: UvLayout) -> np.ndarray:
    """(M, 3, 3) columns: the slots' frames on the mean head."""
    rotations = triangle_frames(head.template, head.faces)[1][layout.triangles]
    cosine, sine = np.cos(layout.spins)[:, None], np.sin(layout.spins)[:, None]
    along = rotations[:, :, 0] * cosine - rotations[:, :, 2] * sine
    across = rotations[:, :, 0] * sine + rotations[:, :, 2] * cosine
    return np.stack([along, rotations[:, :, 1], across], 2)


def inputs_of(projection: Projection, canvas: Canvas, betas: np.ndarray | None = None) -> Inputs:
    """A projection as the networks take it."""
    layout, head = canvas.layout, canvas.head
    rest = identity(head, betas).template
    points = np.einsum("nk,nkd->nd", layout.bary, rest[head.faces[layout.triangles]])
    lie = np.concatenate([projection.normal, np.clip(projection.depth[:, None] * 5, -2, 2)], 1)
    colour = np.clip(projection.colour, 1e-4, 1.5) ** (1 / GAMMA)
    device = canvas.start.device
    arrays = (colour, projection.visible[:, None], lie, projection.outline, points)
    return Inputs(*(torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(device) for a in arrays))


def predict(
    generator: Generator, projection: Projection, betas: np.ndarray | None = None, switches: Switches | None = None
) -> np.ndarray:
    """(M, 14) values of a head seen in one picture; twice as many rows where switches turn the filter off."""
    with torch.no_grad():
        return generator(inputs_of(projection, generator.canvas, betas), switches or ALL).cpu().numpy()


def new_generator(size: int = SIZE, widths: tuple[int, ...] = (32, 48, 72, 96), seed: int = 0) -> Generator:
    """An untrained generator: the projected picture on the start map."""
    head = load_head()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(Canvas(head, uv_layout(head, size)), widths)


def save_generator(generator: Generator, path: Path | str, about: dict[str, Any]) -> None:
    """Weights in half precision, with what they were trained on."""
    arrays = {n: t.detach().cpu().numpy().astype(np.float16) for n, t in generator.state_dict().items()}
    shape = {"widths": list(generator.widths), "size": generator.canvas.size}
    checkpoint.write(path, arrays, {"format": FORMAT, "version": VERSION, "shape": shape, "about": about})


def load_generator(path: Path | str | None = None, size: int | None = None) -> Generator:
    """The trained generator, ready to predict, on maps of the size that it was trained at unless another is asked for.

    Raises FormatError for a file that is not one, AssetError if it is missing.
    """
    arrays, header = checkpoint.read(path or data_file(WEIGHTS), format=FORMAT, version=VERSION)
    generator = new_generator(size or int(header["shape"]["size"]), tuple(header["shape"]["widths"]))
    generator.load_state_dict({n: torch.from_numpy(a.astype(np.float32)) for n, a in arrays.items()})
    return generator.eval()


def densified(values: np.ndarray, layout: UvLayout, **limits: Any) -> tuple[np.ndarray, UvLayout]:
    """Values (M', 14) and their layout after large Gaussians were split (maps_torch.densify), for maps.gaussians_of."""
    beside, pitch = torch.from_numpy(neighbours(layout)), torch.from_numpy(layout.pitch)[:, None]
    with torch.no_grad():
        made, slots = densify(torch.from_numpy(values), beside, pitch, **limits)
    return made.numpy(), layout.take(slots.numpy())


def shape_of(generator: Generator) -> dict[str, Any]:
    """Numbers for logs and cards."""
    count = sum(p.numel() for p in generator.parameters())
    return {"widths": generator.widths, "parameters": count, "slots": len(generator.canvas.layout)} | {
        "switches": asdict(ALL)
    }
