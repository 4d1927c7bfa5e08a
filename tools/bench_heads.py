# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads, measured: capture, a head from one photo, a head from a film, the same back in its film, and the prior's ablations.

    python3.11 dev.py bench heads [--json FILE] [-- OPTIONS]
    python tools/bench_heads.py [--json FILE] [--only PART ...] [--photo-head FILE] [--video-head FILE] [--films FOLDER]
                                [--ten-minutes]

Parts: capture, photo, video, inpaint, ablations, survive, prior. Each prints its own tables beside its baselines; docs/capture.md and docs/heads.md
explain them. Without --photo-head and --video-head the heads are made anew, which takes their minutes and measures them; with
them the tables are made again for those files. A part whose needs are not at hand is named, with the reason, and left out.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy is loaded: MediaPipe has threads of its own

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
MADE = ROOT / "out" / "video_bench"
PEOPLE = MADE.parent / "people"
ADDRESS = "obama_weekly_20s_450.mp4"
TARGETS = {
    "track_r2": ">= .9", "track_fps": ">= 10", "photo_s": "<= 90", "photo_identity_30": "same person below .6",
    "photo_psnr": "> photo_psnr_baseline", "photo_psnr_baseline": "", "video_min": "<= 20", "video_head_psnr": ">= 32",
    "video_head_lpips": "<= .05", "video_whole_psnr": ">= 35", "colour_ms": "<= 2",
}  # fmt: skip
Part = Callable[[argparse.Namespace], dict[str, float]]


def capture(given: argparse.Namespace) -> dict[str, float]:
    """Capture against truth and on real films."""
    from loquent.tools.heads import capture_bench

    return capture_bench.rows(given.films)


def photo(given: argparse.Namespace) -> dict[str, float]:
    """Heads from one photo."""
    from loquent.tools.heads import photo_bench

    _film(given)
    more = {"head": given.photo_head} if given.photo_head else {}
    return photo_bench.rows(**more)


def video(given: argparse.Namespace) -> dict[str, float]:
    """A head from a film: its last fifth, never seen; and its lips when it speaks."""
    from loquent.tools.heads import spoken, video_bench

    figures = video_bench.rows(_film(given), given.video_head, work=MADE)
    return figures | spoken.rows(given.video_head or MADE / "head.loq")


def ablations(given: argparse.Namespace) -> dict[str, float]:
    """What of a film's head is whose work, at equal budgets."""
    from loquent.tools.heads import video_bench

    return video_bench.ablations(_film(given), MADE, steps=900, size=225, step=10)


def inpaint(given: argparse.Namespace) -> dict[str, float]:
    """A head back in its film, with and without the real frame."""
    from loquent.core.errors import FormatError
    from loquent.tools.heads import inpaint_bench

    film, head = _film(given), given.video_head or MADE / "head.loq"
    if not head.is_file():
        raise FormatError(f"there is no head '{head}' made from the film with a fifth held out (part video makes one)")
    return inpaint_bench.rows(head, film)


def survive(given: argparse.Namespace) -> dict[str, float]:
    """Heads from films that are not perfect."""
    from loquent.tools.heads import survive as bench

    return bench.rows(given.films, ten_minutes=given.ten_minutes)


def prior(given: argparse.Namespace) -> dict[str, float]:
    """The prior's ablations on people it has not seen."""
    from loquent.core.errors import AssetError

    people, count = given.people or PEOPLE / "held", str(given.count)
    judge = ["visual_bench", str(people), "--count", count]
    make = ["make", str(PEOPLE), "--split", "held", "--count", count]
    for package, command in ([] if given.people else [("people", make)]) + [("heads", judge)]:
        if subprocess.run([sys.executable, "-m", f"loquent.tools.{package}.{command[0]}", *command[1:]]).returncode:
            raise AssetError(f"loquent.tools.{package}.{command[0]} failed; what it said stands above")
    return {}


PARTS: dict[str, Part] = {
    "capture": capture, "photo": photo, "video": video, "inpaint": inpaint, "ablations": ablations, "survive": survive, "prior": prior,
}  # fmt: skip


def _film(given: argparse.Namespace) -> Path:
    from loquent.core.errors import CaptureError

    film = given.films / ADDRESS
    if not film.is_file():
        raise CaptureError(f"there is no film '{film}' (--films names another folder)")
    return film


def run(given: argparse.Namespace) -> dict[str, float]:
    """The figures of all parts that could be run."""
    from loquent.core.errors import LoquentError

    figures: dict[str, float] = {}
    for name in given.only or PARTS:
        began = time.perf_counter()
        print(f"\n== {name}: {(PARTS[name].__doc__ or '').splitlines()[0]}", flush=True)
        try:
            figures |= PARTS[name](given)
            print(f"({name}: {time.perf_counter() - began:.0f} s)", flush=True)
        except (LoquentError, ImportError) as error:
            print(f"Left out: {error}", flush=True)
    return figures


def main() -> None:
    from loquent.tools.figures import keep, options

    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--films", type=Path, default=DATA / "video", help="folder of films of faces")
    parser.add_argument("--photo-head", type=Path, metavar="FILE.loq", help="made from the portrait before")
    parser.add_argument(
        "--video-head", type=Path, metavar="FILE.loq", help=f"made from {ADDRESS} before, a fifth held out"
    )
    parser.add_argument(
        "--people",
        type=Path,
        metavar="FOLDER",
        help="unseen synthetic people, for the prior (made in half a minute where not given)",
    )
    parser.add_argument(
        "--ten-minutes", action="store_true", help="survive: also ten minutes of film, which take as long"
    )
    parser.add_argument("--count", type=int, default=12, help="of them, how many (12)")
    given = parser.parse_args()
    figures = run(given)
    print()
    for name, target in TARGETS.items():
        print(f"{name:22}{figures[name]:9.3f}   {target}" if name in figures else f"{name:22}{'-':>9}   {target}")
    keep({name: float(value) for name, value in figures.items()}, given.json, 4)


if __name__ == "__main__":
    sys.exit(main())
