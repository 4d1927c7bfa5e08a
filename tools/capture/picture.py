# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/images/capture.png: a film of ada, the fitted head over it, and bruno doing the same.

    python -m loquent.tools.capture.picture

The film is a render, so that the picture may be shipped; the camera goes round the head from -40 to 40 degrees.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from loquent.core.capture.film import open_film, pictures
from loquent.core.capture.overlay import draw
from loquent.core.capture.perform import capture
from loquent.core.head.head import identity

from .clips import ROOT, spoken
from .shots import camera_at, cast, head_model, shoot

SIDE, TILE, CROP, SHOWN = 512, 200, (86, 86, 426, 426), (4, 14, 24, 34, 44, 56)


def write_film(path: Path, images: list[np.ndarray], rate: int = 25) -> None:
    """H.264 or what this FFmpeg has for mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = SIDE, SIDE, "yuv420p", 6_000_000
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def main() -> None:
    values = spoken("ada")
    ada, bruno = cast(None, "ada"), cast(None, "bruno")
    turns = np.linspace(-40, 40, len(values))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ada.mp4"
        write_film(path, [shoot(ada, row, camera_at(turn, 4)).image for row, turn in zip(values, turns, strict=True)])
        track = capture(path)
        person = identity(head_model(), track.betas)
        rows: list[list[np.ndarray]] = [[], [], []]
        for k, picture in enumerate(pictures(open_film(path))):
            if k in SHOWN:
                other = shoot(bruno, track.motion.values[k], camera_at(0, 0))
                for row, image in zip(
                    rows, (picture.image, draw(picture.image, track, k, person), other.image), strict=True
                ):
                    face = Image.fromarray(image).crop(CROP)
                    row.append(np.asarray(face.resize((TILE, TILE), Image.Resampling.LANCZOS)))
    sheet = Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in rows], 0))
    target = ROOT / "docs" / "images" / "capture.png"
    sheet.quantize(200).save(target, optimize=True)
    print(f"{target} ({target.stat().st_size / 1e3:.0f} kB), landmarks {track.error:.2%} of the eye distance off")


if __name__ == "__main__":
    main()
