# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `loquent speak`, `fit-voice`, `phones`, `convert` (cli_voice.py), `track`, `perform`
(cli_capture.py), `head` (cli_head.py), `heads` and `info`.

Blender is loaded only where a .blend file or a film is asked for; a motion file needs numpy and the speech model alone.
"""

import argparse
import os
import sys
from pathlib import Path

from ..core.errors import Cancelled, LoquentError
from . import cli_capture, cli_head, cli_voice

EXAMPLES = """examples:
  loquent speak line.wav --render line.mp4
      a film of the built-in head `ada` saying line.wav, 25 frames a second, with the sound
  loquent speak line.wav --head bruno --fps 24 --out shot.blend --csv take.csv
      a Blender file with head, keyed Action, sound, camera and compositor; and the motion for other programs
  loquent fit-voice clip.wav motion.csv -o anna.style
      how one person moves when they speak, from 10 to 60 seconds of them
  loquent phones line.wav -o line.txt
      which mouth shape is spoken when, as labels for Audacity
  loquent convert take.csv take.json
      a Live Link Face take as ARKit JSON
  loquent perform clip.mp4 -o take.csv
      what a face does in a film, as motion for any head (needs MediaPipe)
  loquent head import james.zip -o james.loq
      a head made elsewhere as one that speaks; `loquent head -h` tells of photos, films, exports
  loquent info shot.loq
      what a head, a recording, a motion file or a style holds
"""


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
    if path.name.lower().endswith(".head.npz"):
        from ..core.head.head import load_head

        head = load_head(path)
        print(f"{path}: parametric head '{head.head_id}', {len(head.template):,} vertices, {len(head.faces):,} triangles, "
              f"{len(head.shapedirs)} identity directions")  # fmt: skip
    elif path.suffix.lower() == ".zip" or path.is_dir():
        from ..core.splats.lam import load_lam

        lam = load_lam(path)
        print(f"{path}: LAM head, {len(lam):,} Gaussians, {len(lam.channels)} expressions")
    elif path.suffix.lower() in (".csv", ".json", ".npz"):
        from ..core.head.motion_files import KINDS, check_suffix, read_motion

        motion = read_motion(path)
        moving = [name for name, column in zip(_channels(), motion.values.T, strict=True) if column.std() > 1e-4]
        print(
            f"{path}: {KINDS[check_suffix(path)]}, {len(motion)} frames at {motion.fps:g} fps, {motion.seconds:.2f} s"
        )
        print(f"  {len(moving)} channels move: {', '.join(moving)}")
    elif path.suffix.lower() == ".loq" or not path.suffix:
        from ..core.splats.avatar import find_avatar, load_avatar

        avatar = load_avatar(find_avatar(path))
        print(f"{path}: head '{avatar.name}', {len(avatar):,} Gaussians on '{avatar.head_id}', "
              f"{avatar.harmonics.shape[1]} harmonics a colour")  # fmt: skip
        for key, value in avatar.about.items():
            print(f"  {key}: {value}")
    elif path.suffix.lower() == ".style":
        from ..core.prior.style import read_style

        style = read_style(path)
        print(f"{path}: style of '{style.name}', fitted to the model '{style.network}'")
        for key, value in {**style.about, **{name: f"{value:g}" for name, value in style.controls.items()}}.items():
            print(f"  {key}: {value}")
    elif path.suffix.lower() == ".track":
        from ..core.capture.track import load_track

        track = load_track(path)
        print(f"{path}: face of '{track.source}', {len(track)} frames at {track.fps:g} fps, seen in {track.seen.sum()}, "
              f"{track.size[0]}x{track.size[1]}, focal length {track.focal:.0f} pixels")  # fmt: skip
        for warning in track.warnings:
            print(f"  note: {warning}")
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


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="loquent",
        description="Gaussian heads that speak your recordings, offline, on any computer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    cli_voice.add_commands(commands)
    cli_capture.add_commands(commands)
    cli_head.add_commands(commands)
    sub = commands.add_parser("heads", help="list the heads that ship with Loquent", description=heads.__doc__)
    sub.set_defaults(function=heads)

    sub = commands.add_parser("info", help="say what a file holds", description=info.__doc__)
    sub.add_argument(
        "file",
        type=Path,
        help="a .loq head, a splat .ply or .spz, a recording, a motion file (.csv, .json, .npz), a .style, a .track, or "
        "a built-in head's name",
    )
    sub.set_defaults(function=info)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 where it worked, 1 with one message where it did not, 130 where it was interrupted."""
    given = parser().parse_args(arguments)
    try:
        given.function(given)
        sys.stdout.flush()
    except Cancelled as error:
        print(error, file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Stopped; nothing was left half written.", file=sys.stderr)
        return 130
    except LoquentError as error:
        print(f"loquent: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read us, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
