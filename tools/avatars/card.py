# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the card beside a shipped avatar: what it is, how it was made, what it scores, where it is weak."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

DESCRIPTION = {
    "ada": "A woman of about thirty: chin-length brown hair with a side parting, brown eyes, a crew-neck jumper.",
    "bruno": "A man of about forty-five: short dark hair with some grey, a short beard, brown eyes, a grey T-shirt.",
}
WEAK = {
    "ada": "Hair is rigid on the skull: it does not swing, and a head turned by more than about 40 degrees passes it through the shoulders.",
    "bruno": "Beard hairs ride on the skin one by one; under extreme puckers they bunch.",
}


def write(path: Path, name: str, count: int, size: int, about: Mapping[str, Any]) -> None:
    """The card as Markdown. size: bytes of the .loq file."""
    before, after = about["held_out_psnr_db"]["initial"], about["held_out_psnr_db"]["fitted"]
    rows = "\n".join(f"| {k} | {before[k]:.1f} | {after[k]:.1f} |" for k in after)
    path.write_text(
        f"""# {name}.loq

{DESCRIPTION[name]} Not a real person. CC0-1.0.

{count:,} Gaussians (SH degree 1) on the triangles of head.npz, {size / 1e6:.1f} MB. Made by

    python -m pip install -r tools/avatars/requirements.txt
    {about["command"]}

about 40 minutes on two cores, seed {about["seed"]}. Nothing but CC0 data goes in: the shape is MakeHuman's (sliders in
`tools/avatars/people.py`, projected onto the head's identity space); skin, eyes, clothes and hair are painted and groomed
by the script; Cycles lit them in a studio (one key, one fill, two rims, an eye light) and took {about["pictures"]} pictures of 20 expressions,
head and bust at 384 px, mouth and eyes at 320 px, 8 samples and OpenImageDenoise. Then {about["steps"]:,} steps of Adam through
the product's own rasteriser. All data are synthetic.

Held-out pictures (two expressions the fit never saw, six cameras), PSNR of sRGB over mid grey in dB; *initial* are the same
Gaussians as laid on the mesh, each with the mean colour of the pixels it covers:

| framing | initial | fitted |
|---|---|---|
{rows}

`docs/images/{name}.png` shows five expressions from three sides, drawn by the product's rasteriser.

Limits: light and shadow are baked in for a head that faces the studio, so a turned head keeps its own light. {WEAK[name]} Skin has
no wrinkles that come and go. Lashes and brows are single Gaussians a hair and look soft in extreme close-ups.
"""
    )
