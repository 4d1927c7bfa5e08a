# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact sheet of a GUI session and the manual's screenshots, of the pictures that tools/gui_session.py left.

    .venv/bin/python tools/gui_pictures.py FOLDER [OUT]

OUT is docs/images: gui_session.png, viewport.png and manual_*.png.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, WIDTH, WINDOW, VIEW = 6, 250, (0, 0, 1600, 900), (0, 0, 1310, 870)
MANUAL = {
    "viewport": ("18_rendered", WINDOW, 1200),
    "manual_installed": ("01_installed", (800, 30, 1600, 480), 800),
    "manual_head": ("02_head_added", (0, 30, 1310, 900), 900),
    "manual_speak": ("04_spoken", (440, 30, 1310, 900), 800),
    "manual_sidebar": ("04_spoken", (1030, 80, 1310, 440), 280),
    "manual_set": ("07_eevee", (200, 180, 1310, 800), 800),
    "manual_rig": ("23_rig_solid", (0, 30, 1310, 900), 900),
    "manual_f12": ("40_f12", (0, 30, 1310, 830), 800),
    "manual_dialogue": ("30_dialogue", (0, 30, 1310, 900), 900),
}
"""Name: session's picture, part of the window, width in pixels."""


def contact_sheet(folder: Path) -> Image.Image:
    """All pictures in order, named."""
    pictures = sorted(path for path in folder.glob("[0-9]*.png"))
    height = WIDTH * VIEW[3] // VIEW[2]
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (WIDTH * COLUMNS, (height + 14) * rows), "white")
    for i, path in enumerate(pictures):
        at = i % COLUMNS * WIDTH, i // COLUMNS * (height + 14)
        ImageDraw.Draw(sheet).text((at[0] + 3, at[1] + 1), path.stem, fill="black")
        sheet.paste(
            Image.open(path).convert("RGB").crop(VIEW).resize((WIDTH, height), Image.Resampling.LANCZOS),
            (at[0], at[1] + 14),
        )
    return sheet


def save(picture: Image.Image, path: Path, kilobytes: int) -> None:
    """In all its colours, because skin shows every band, and as large as fits."""
    for percent in (100, 90, 80, 70, 60):
        size = picture.width * percent // 100, picture.height * percent // 100
        picture.resize(size, Image.Resampling.LANCZOS).save(path, optimize=True)
        if path.stat().st_size <= kilobytes * 1000:
            return
    picture.quantize(256).save(path, optimize=True)


def main() -> None:
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "images"
    sheet, path = contact_sheet(folder), out / "gui_session.png"
    for colours in (256, 192, 128, 96, 64):
        sheet.quantize(colours).save(path, optimize=True)
        if path.stat().st_size <= 400_000:
            break
    for name, (source, box, width) in MANUAL.items():
        part = Image.open(folder / f"{source}.png").convert("RGB").crop(box)
        size = width, round(part.height * width / part.width)
        save(part.resize(size, Image.Resampling.LANCZOS), out / f"{name}.png", 400 if name == "viewport" else 250)


if __name__ == "__main__":
    main()
