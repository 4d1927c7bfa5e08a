# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `loquent speak`, `loquent heads`, `loquent info`.

Blender is loaded only where a .blend file or a film is asked for; a motion file needs numpy and the speech model alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import Cancelled, FormatError, LoquentError

if TYPE_CHECKING:
    from ..core.head.motion import Motion

EXAMPLES = """examples:
  loquent speak line.wav --render line.mp4
      a film of the built-in head `ada` saying line.wav, 25 frames a second, with the sound
  loquent speak line.wav --head bruno --fps 24 --out shot.blend --csv take.csv
      a Blender file with head, keyed Action, sound, camera and compositor; and the motion for other programs
  loquent info shot.loq
      what a head, a recording or a motion file holds
"""


class Bar:
    """A progress bar on a terminal; elsewhere one line a stage. Remembers how long each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._live = sys.stderr.isatty()

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        started = time.perf_counter()
        self._draw(name, 0.0)
        try:
            yield lambda fraction: self._draw(name, fraction)
        except BaseException:
            self._end(name, "stopped", time.perf_counter() - started)
            raise
        self.seconds[name] = time.perf_counter() - started
        self._end(name, "done", self.seconds[name])

    def _draw(self, name: str, fraction: float) -> None:
        if self._live:
            filled = round(30 * min(max(fraction, 0.0), 1.0))
            print(
                f"\r{name:24} [{'█' * filled}{'·' * (30 - filled)}] {fraction:4.0%}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def _end(self, name: str, word: str, seconds: float) -> None:
        start = "\r\033[K" if self._live else ""
        print(f"{start}{name:24} {word}, {seconds:.1f} s", file=sys.stderr, flush=True)


def speak(arguments: argparse.Namespace) -> None:
    """Speech to motion, and on to a scene and a film where asked for."""
    from ..core.head.livelink import write_livelink
    from ..core.prior.generate import Controls, generate
    from ..core.speech.audio import read_audio
    from ..core.splats.avatar import find_avatar

    if not (arguments.out or arguments.render or arguments.csv):
        raise FormatError("Nothing to write: give at least one of --out shot.blend, --render film.mp4, --csv take.csv.")
    for path, suffix in ((arguments.out, ".blend"), (arguments.render, ".mp4"), (arguments.csv, ".csv")):
        _check_target(path, suffix)
    avatar = find_avatar(arguments.head)
    bar = Bar()
    with bar.stage("Reading the recording"):
        audio = read_audio(arguments.voice)
    for warning in audio.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    with bar.stage("Speech to motion") as progress:
        motion = generate(audio, fps=arguments.fps, seed=arguments.seed, controls=Controls(), progress=progress)
    written = []
    if arguments.csv:
        write_livelink(motion, arguments.csv)
        written.append(arguments.csv)
    if arguments.out or arguments.render:
        written += _shot(arguments, avatar, motion, bar)
    for path in written:
        print(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    print(f"{len(motion)} frames at {motion.fps:g} fps, {sum(bar.seconds.values()):.1f} s in all")


def _shot(arguments: argparse.Namespace, avatar: Path, motion: "Motion", bar: Bar) -> list[Path]:
    """Build the scene in Blender's module, save it and render it."""
    try:
        with bar.stage("Loading Blender"):
            from . import shot
    except ImportError as error:
        raise FormatError(
            "--out and --render need Blender as a Python module: pip install 'loquent[blender]' on Python 3.11 or 3.13. "
            f"({error})"
        ) from error
    written = []
    with bar.stage("Building the scene"):
        shot.build(
            head=arguments.head if str(arguments.head) == avatar.stem else avatar.resolve(),
            voice=Path(arguments.voice).resolve(), motion=motion, size=arguments.size,
        )  # fmt: skip
    if arguments.out:
        with bar.stage("Saving the Blender file"):
            shot.save(arguments.out)
        written.append(arguments.out)
    if arguments.render:
        with bar.stage("Rendering the film") as progress:
            shot.render(arguments.render, progress)
        written.append(arguments.render)
    return written


def _check_target(path: Path | None, suffix: str) -> None:
    """Refuse a target that cannot be written before anything is computed."""
    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise FormatError(f"'{path}' should end in {suffix}; found '{path.suffix or 'no suffix'}'. Rename it.")
    if path.is_dir():
        raise FormatError(f"'{path}' is a folder; expected the name of a file to write.")
    from ..core.files import written_whole

    if not path.exists():  # a probe beside it: the folder may be read-only, and permission bits do not tell everywhere
        try:
            with written_whole(path):
                raise _Probed
        except _Probed:
            pass


class _Probed(Exception):
    pass


def heads(arguments: argparse.Namespace) -> None:
    """The heads that ship with Loquent."""
    from ..core.splats.avatar import builtin_avatars, load_avatar

    for name, path in builtin_avatars().items():
        avatar = load_avatar(path)
        print(
            f"{name:8} {len(avatar):6,} Gaussians  {path.stat().st_size / 1e6:4.1f} MB  {avatar.about.get('licence', '')}"
        )


def info(arguments: argparse.Namespace) -> None:
    """What a head, a splat file, a recording or a motion file holds."""
    path: Path = arguments.file
    if path.suffix.lower() == ".csv":
        from ..core.head.livelink import read_livelink

        motion = read_livelink(path)
        moving = [name for name, column in zip(_channels(), motion.values.T, strict=True) if column.std() > 1e-4]
        print(f"{path}: Live Link Face take, {len(motion)} frames at {motion.fps:g} fps, {motion.seconds:.2f} s")
        print(f"  {len(moving)} channels move: {', '.join(moving)}")
    elif path.suffix.lower() == ".loq" or not path.suffix:
        from ..core.splats.avatar import find_avatar, load_avatar

        avatar = load_avatar(find_avatar(path))
        print(f"{path}: head '{avatar.name}', {len(avatar):,} Gaussians on '{avatar.head_id}', "
              f"{avatar.harmonics.shape[1]} harmonics a colour")  # fmt: skip
        for key, value in avatar.about.items():
            print(f"  {key}: {value}")
    elif path.suffix.lower() in (".ply", ".spz"):
        from ..core.splats.formats import about_splats

        splats = about_splats(path)
        bound = "bound to FLAME triangles (GaussianAvatars)" if splats.bound else "free"
        print(f"{path}: {splats.count:,} Gaussians, SH degree {splats.degree}, {bound}, {splats.encoding}")
    else:
        from ..core.speech.audio import read_audio

        audio = read_audio(path)
        print(f"{path}: recording, {audio.seconds:.2f} s, peak {abs(audio.samples).max():.2f}")
        for warning in audio.warnings:
            print(f"  note: {warning}")


def _channels() -> tuple[str, ...]:
    from ..core.head.motion import CHANNELS

    return CHANNELS


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; write width x height, such as 1920x1080") from None
    if not (16 <= width <= 16384 and 16 <= height <= 16384):
        raise argparse.ArgumentTypeError(f"{text}: each side must be 16 to 16384 pixels")
    return width, height


def _fps(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 1 <= fps <= 240:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a frame rate; expected a number from 1 to 240, such as 23.976"
        )
    return fps


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="loquent",
        description="Gaussian heads that speak your recordings, offline, on any computer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sub = commands.add_parser(
        "speak",
        help="let a head speak a recording: motion, Blender file, film",
        description="Turn a recording (wav, flac, ogg, mp3; any rate and language) into motion, and on request into a "
        "Blender file and a film. The same seed gives the same motion and the same pixels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("voice", type=Path, help="the recording")
    sub.add_argument("--head", default="ada", metavar="NAME", help="a built-in head or a .loq file (default: ada)")
    sub.add_argument("--out", type=Path, metavar="FILE.blend", help="write a Blender file: head, Action, sound, camera")
    sub.add_argument("--render", type=Path, metavar="FILE.mp4", help="write a film, H.264 with AAC sound")
    sub.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the motion as Live Link Face CSV (ARKit 52)")
    sub.add_argument("--fps", type=_fps, default=25.0, help="frames per second (default: 25)")
    sub.add_argument("--seed", type=int, default=0, help="of blinks, gaze and head motion (default: 0)")
    sub.add_argument("--size", type=_size, default=(720, 720), metavar="WxH", help="of the film (default: 720x720)")
    sub.set_defaults(function=speak)

    sub = commands.add_parser("heads", help="list the heads that ship with Loquent", description=heads.__doc__)
    sub.set_defaults(function=heads)

    sub = commands.add_parser("info", help="say what a file holds", description=info.__doc__)
    sub.add_argument(
        "file",
        type=Path,
        help="a .loq head, a splat .ply or .spz, a recording, a Live Link Face CSV, or a built-in head's name",
    )
    sub.set_defaults(function=info)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 where it worked, 1 with one message where it did not, 130 where it was interrupted."""
    given = parser().parse_args(arguments)
    try:
        given.function(given)
    except Cancelled as error:
        print(error, file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Stopped; nothing was left half written.", file=sys.stderr)
        return 130
    except LoquentError as error:
        print(f"loquent: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
