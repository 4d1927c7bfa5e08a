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
_CLOSE = ARKIT.index("mouthClose")


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
        blended = torch.einsum("vj,tjab->tvab", self.weights, turns)
        out = (blended @ points[..., None])[..., 0] + self.weights @ shifts
        close = coefficients[:, _CLOSE, None, None] * (self.close @ turns[:, self.main].transpose(1, 2))
        out = out + close
        return out[0] if values.ndim == 1 else out

    def controls(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As head.controls: coefficients (T, 52) and joint rotations (T, 5, 3, 3)."""
        column = lambda name: rows[:, INDEX[name]]  # noqa: E731
        columns = {_CLOSE: torch.minimum(column("mouthClose"), column("jawOpen").clamp_min(0))}
        turns = [yaw_pitch_roll_torch(*(column(n) for n in names)) for names in _ANGLES[:2]]
        jaw = [column(n) for n in _ANGLES[2]]
        turns.append(yaw_pitch_roll_torch(jaw[0], jaw[1] * self.head.jaw_open_radians, jaw[2]))
        down_angle, in_angle, out_angle, up_angle = (float(a) for a in self.head.look_radians)
        for side, outwards in (("Left", 1), ("Right", -1)):
            down, inner, outer, up = (column(name + side) for name in LOOKS)
            pitch = column("gazePitch") + down * down_angle - up * up_angle
            yaw = column("gazeYaw") + outwards * (outer * out_angle - inner * in_angle)
            turns.append(yaw_pitch_roll_torch(yaw, pitch, 0 * yaw))
            shares = (pitch / down_angle, -outwards * yaw / in_angle, outwards * yaw / out_angle, -pitch / up_angle)
            for name, share in zip(LOOKS, shares, strict=True):
                columns[INDEX[name + side]] = share.clamp(0, 1.5)
        coefficients = torch.stack([columns.get(k, rows[:, k]) for k in range(len(ARKIT))], 1)
        return coefficients, torch.stack(turns, 1)

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


def yaw_pitch_roll_torch(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """(T, 3, 3), as rotations.yaw_pitch_roll."""
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    rows = [
        cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp,
        cp * sr, cp * cr, -sp,
        cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp,
    ]  # fmt: skip
    return torch.stack(rows, -1).view(-1, 3, 3)
