# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in head as torch operations: head.pose_vertices with gradients to the identity and to the motion channels.

For refining tracks and identity against pictures. What head.identity finds by comparing numbers (how far a blink has to go to
close this person's lids) is taken as it stands; everything else is differentiated.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..head.head import LID_OVERLAP, LOOKS, Head
from ..head.motion import ARKIT, INDEX

_ANGLES = (
    ("neckYaw", "neckPitch", "neckRoll"), ("headYaw", "headPitch", "headRoll"), ("jawYaw", "jawOpen", "jawRoll"),
)  # fmt: skip
_PLACE = [INDEX["headX"], INDEX["headY"], INDEX["headZ"]]
_CLOSE, _OPEN = INDEX["mouthClose"], INDEX["jawOpen"]


@dataclass(frozen=True)
class TorchIdentity:
    """As head.Identity: template (V, 3), joints (5, 3), per eye lid floors (L,), radius () and blink gain."""

    template: Tensor
    joints: Tensor
    floors: tuple[Tensor, ...]
    radii: tuple[Tensor, ...]
    gains: tuple[float, ...]


class TorchHead:
    """The arrays of a Head as tensors; makes identities of betas, and vertices of identities and motion values."""

    def __init__(self, head: Head, device: torch.device | str = "cpu") -> None:
        self.head = head
        tensor = lambda x: torch.tensor(np.asarray(x), device=device)  # noqa: E731
        self.faces = tensor(head.faces).long()
        self.template, self.shapedirs = tensor(head.template).float(), tensor(head.shapedirs).float().flatten(1)
        self.joints, self.joint_dirs = tensor(head.joints).float(), tensor(head.joint_dirs).float().flatten(1)
        self.weights = tensor(head.weights).float()
        units = head.units.copy()
        units[[ARKIT.index("jawOpen"), _CLOSE]] = 0  # one turns the jaw, the other is added after the joints
        both = np.concatenate([units, head.posedirs])
        self.moving = tensor(np.flatnonzero(np.abs(both).max((0, 2)) > 0)).long()
        self.deltas = tensor(both).float()[:, self.moving].flatten(1)
        self.close = tensor(head.units[_CLOSE]).float()
        self.main = head.binding.main
        index = lambda names: tensor([INDEX[n] for n in names]).long()  # noqa: E731
        looks = [name + side for side in ("Left", "Right") for name in LOOKS]
        self.angle_columns, self.look_columns = index([n for names in _ANGLES for n in names]), index(looks)
        self.gaze_columns, self.replaced = index(["gazePitch", "gazeYaw"]), index([*looks, "mouthClose"])
        self.angle_scales = torch.ones(3, 3, device=device)
        self.angle_scales[2, 1] = head.jaw_open_radians
        self.outwards = torch.tensor([1.0, -1.0], device=device)
        self.lids = [tuple(tensor(x).long() for x in (lid.index, lid.lashes, lid.roots)) for lid in head.lids]

    def identity(self, betas: Tensor) -> TorchIdentity:
        """Of betas (S,), all components."""
        head = self.head
        template = self.template + (betas @ self.shapedirs).view(-1, 3)
        joints = self.joints + (betas @ self.joint_dirs).view(-1, 3)
        floors, radii, gains = [], [], []
        for lid, (index, _, _) in zip(head.lids, self.lids, strict=True):
            centre = joints[lid.eye_joint]
            ball = (template[lid.eye_vertices] - centre).norm(dim=1)
            back = ball[len(ball) // 2 :]
            middle = back.sort().values
            radius = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
            distance = (template[index] - centre).norm(dim=1)
            rate = lid.gaps(head.units[ARKIT.index("eyeBlink" + ("Left" if lid.eye_joint == 3 else "Right"))])
            gap = lid.gaps(template.detach().cpu().numpy())
            gains.append(float(np.clip(np.max((gap + LID_OVERLAP) / -rate), 0.6, 1.6)))
            radii.append(radius)
            floors.append(torch.minimum(distance, radius + torch.as_tensor(lid.clearance, device=betas.device)))
        start = TorchIdentity(template, joints, tuple(floors), tuple(radii), tuple(gains))
        ahead = template.new_tensor([0.0, 0.0, 1.0]).expand(1, len(head.lids), 3)
        return TorchIdentity(self._clear_eyes(start, template[None], ahead)[0], joints, *_lids(start))

    def vertices(self, person: TorchIdentity, values: Tensor) -> Tensor:
        """(V, 3) of values (65,), or (T, V, 3) of (T, 65)."""
        rows = torch.atleast_2d(values)
        coefficients, rotations = self.controls(rows)
        gains = torch.ones(len(ARKIT), device=rows.device)
        gains[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = torch.tensor(person.gains, device=rows.device)
        features = (rotations[:, 2] - torch.eye(3, device=rows.device)).flatten(1)
        moved = torch.cat([coefficients * gains, features], 1) @ self.deltas
        points = person.template.expand(len(rows), -1, 3)
        points = points.index_add(1, self.moving, moved.view(len(rows), -1, 3))
        eyes = [lid.eye_joint for lid in self.head.lids]
        points = self._clear_eyes(person, points, rotations[:, eyes][..., 2])
        turns, shifts = self._transforms(person.joints, rotations)
        shifts = shifts + rows[:, None, _PLACE]
        blended = (self.weights @ torch.cat([turns.flatten(2), shifts], 2)).unflatten(
            2, (4, 3)
        )  # (T, V, rows and shift, 3)
        out = (blended[:, :, :3] * points[:, :, None]).sum(3) + blended[:, :, 3]
        close = coefficients[:, _CLOSE, None, None] * (self.close @ turns[:, self.main].transpose(1, 2))
        out = out + close
        return out[0] if values.ndim == 1 else out

    def controls(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As head.controls: coefficients (T, 52) and joint rotations (T, 5, 3, 3). Few operations on whole rows: a graph of
        one for each channel costs more than the mesh."""
        jaw = rows.index_select(1, self.angle_columns).view(-1, 3, 3) * self.angle_scales
        looks = rows.index_select(1, self.look_columns).view(-1, 2, 4)  # of each eye: down, in, out, up
        gaze = rows.index_select(1, self.gaze_columns)  # pitch, yaw
        down_angle, in_angle, out_angle, up_angle = (float(a) for a in self.head.look_radians)
        pitch = gaze[:, :1] + looks[..., 0] * down_angle - looks[..., 3] * up_angle  # (T, 2)
        yaw = gaze[:, 1:] + self.outwards * (looks[..., 2] * out_angle - looks[..., 1] * in_angle)
        away = self.outwards * yaw
        shares = torch.stack([pitch / down_angle, -away / in_angle, away / out_angle, -pitch / up_angle], 2).clamp(
            0, 1.5
        )
        eyes = torch.stack([yaw, pitch, torch.zeros_like(yaw)], 2)
        close = torch.minimum(rows[:, _CLOSE], rows[:, _OPEN].clamp_min(0))[:, None]
        coefficients = rows[:, : len(ARKIT)].index_copy(1, self.replaced, torch.cat([shares.flatten(1), close], 1))
        return coefficients, yaw_pitch_roll_torch(torch.cat([jaw, eyes], 1))

    def _transforms(self, joints: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (T, 5, 3, 3) and shifts (T, 5, 3), as skinning.joint_transforms."""
        local = joints - (rotations @ joints[..., None])[..., 0]
        turns, shifts = list(rotations.unbind(1)), list(local.unbind(1))
        for j, parent in enumerate(self.head.parents.tolist()):
            if parent >= 0:
                shifts[j] = (turns[parent] @ shifts[j][..., None])[..., 0] + shifts[parent]
                turns[j] = turns[parent] @ turns[j]
        return torch.stack(turns, 1), torch.stack(shifts, 1)

    def _clear_eyes(self, person: TorchIdentity, points: Tensor, axes: Tensor) -> Tensor:
        """Lid vertices of (T, V, 3) pushed out of the eyeballs and over the corneas, lashes with them; axes (T, 2, 3)."""
        height, width = self.head.cornea
        for k, (lid, (index, lashes, roots)) in enumerate(zip(self.head.lids, self.lids, strict=True)):
            offset = points[:, index] - person.joints[lid.eye_joint]
            distance = offset.norm(dim=2)
            cosine = (offset @ axes[:, k, :, None])[..., 0] / distance
            bulge = (1 - 2 * (1 - cosine) / width**2).clamp_min(0)
            bulge = height * bulge * bulge.clamp_min(1e-12).sqrt()
            floor = torch.maximum(person.floors[k], person.radii[k] + bulge + 1e-4)
            push = (floor / distance - 1).clamp_min(0)[..., None] * offset
            points = points.index_add(1, torch.cat([index, lashes]), torch.cat([push, push[:, roots]], 1))
        return points


def _lids(person: TorchIdentity) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[float, ...]]:
    return person.floors, person.radii, person.gains


def yaw_pitch_roll_torch(angles: Tensor) -> Tensor:
    """(..., 3, 3) of angles (..., 3), as rotations.yaw_pitch_roll."""
    (cy, cp, cr), (sy, sp, sr) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp,
        cp * sr, cp * cr, -sp,
        cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp,
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
