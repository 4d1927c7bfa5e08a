# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands about speech: `speak`, `fit-voice`, `phones`, `convert`."""

import argparse
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import FormatError
from .cli_tools import Bar, check_target, fps, number, size

if TYPE_CHECKING:
    from ..core.head.motion import Motion
    from ..core.prior.controls import Controls
    from ..core.prior.style import Style

SPEAK = """examples:
  loquent speak line.wav --render line.mp4
      a film of the built-in head `ada` saying line.wav, 25 frames a second, with the sound
  loquent speak line.wav --head bruno --fps 24 --out shot.blend --csv take.csv
      a Blender file with head, keyed Action, sound, camera and compositor; and the motion for other programs
  loquent speak line.wav --json take.json --mood happy=0.6,surprised=0.2 --blink-rate 20 --style anna.style
      the motion as ARKit JSON, in a good mood and in Anna's way of speaking
"""
FIT = """examples:
  loquent fit-voice clip.wav motion.csv -o anna.style --consent "Anna Ek, by mail, 2026-11-01"
      10 to 60 seconds of Anna talking and her captured motion -> her style, in seconds, on any computer
  loquent speak line.wav --style anna.style --render line.mp4
"""
STRENGTHS = {
    "articulation": "of all mouth movement", "jaw": "of the jaw alone", "lips": "of the lips alone", "gaze": "of eye movement; 0 is off",
    "brows": "of brow movement; 0 is off", "head-motion": "of all head movement; 0 is off", "nods": "of nods on stressed syllables",
    "breathing": "of the breath's rise and fall",
}  # fmt: skip


def add_commands(commands: Any) -> None:
    sub = _command(
        commands, "speak", speak, "let a head speak a recording: motion, Blender file, film",
        "Turn a recording (wav, flac, ogg, mp3; any rate and language) into motion, and on request into a Blender file and a "
        "film. The same seed gives the same motion and the same pixels.", SPEAK,
    )  # fmt: skip
    sub.add_argument("voice", type=Path, help="the recording")
    sub.add_argument("--head", default="ada", metavar="NAME", help="a built-in head or a .loq file (default: ada)")
    sub.add_argument("--out", type=Path, metavar="FILE.blend", help="write a Blender file: head, Action, sound, camera")
    sub.add_argument("--render", type=Path, metavar="FILE.mp4", help="write a film, H.264 with AAC sound")
    sub.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the motion as Live Link Face CSV (ARKit 52)")
    sub.add_argument("--json", type=Path, metavar="FILE.json", help="write the motion as ARKit JSON")
    sub.add_argument("--npz", type=Path, metavar="FILE.npz", help="write the motion as FLAME parameters")
    sub.add_argument("--fps", type=fps, default=25.0, help="frames per second (default: 25)")
    sub.add_argument("--seed", type=int, default=0, help="of blinks, gaze and head motion (default: 0)")
    sub.add_argument("--size", type=size, default=(720, 720), metavar="WxH", help="of the film (default: 720x720)")
    _add_controls(sub)

    sub = _command(
        commands, "fit-voice", fit_voice, "learn how one person moves when they speak",
        "From a recording and the same person's motion (Live Link Face CSV, ARKit JSON or FLAME npz; 10 to 60 seconds), make a "
        "style that any recording can be spoken in. Sound and motion may be a little apart; the fit notices.", FIT,
    )  # fmt: skip
    sub.add_argument("voice", type=Path, help="the recording")
    sub.add_argument("motion", type=Path, help="the motion of whoever speaks in it: .csv, .json or .npz")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.style", help="the style to write")
    sub.add_argument("--fps", type=fps, help="of the motion, where its file does not say it")
    sub.add_argument("--name", help="whose style it is (default: the name of the file)")
    sub.add_argument("--consent", metavar="TEXT", help="who agreed to this, and when; kept in the style")
    sub.add_argument("--zero-shot", action="store_true", help="do not fit, only match how much each channel moves")

    sub = _command(
        commands, "phones", phones, "say which mouth shape is spoken when",
        "Write the visemes (the 15 of Oculus LipSync) of a recording in any language, with times, for animating by hand. "
        "No transcript is needed.", None,
    )  # fmt: skip
    sub.add_argument("voice", type=Path, help="the recording")
    sub.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help=".json, .csv or .txt (Audacity labels); on the terminal without"
    )

    sub = _command(
        commands, "convert", convert, "turn a motion file into another kind",
        "Live Link Face .csv, ARKit .json and FLAME .npz into each other.", None,
    )  # fmt: skip
    sub.add_argument("source", type=Path, help="motion file to read: .csv, .json or .npz")
    sub.add_argument("target", type=Path, help="motion file to write: .csv, .json or .npz")
    sub.add_argument("--fps", type=fps, help="write at this rate, such as 60 as the Live Link Face app does")
    sub.add_argument(
        "--source-fps", type=fps, help="rate of the source, where its file does not say it or says it wrong"
    )


def _command(commands: Any, name: str, function: Any, help: str, description: str, examples: str | None) -> Any:
    sub = commands.add_parser(
        name, help=help, description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sub.set_defaults(function=function)
    return sub


def _add_controls(sub: argparse.ArgumentParser) -> None:
    from ..core.prior.controls import DEFAULTS, RANGES

    group = sub.add_argument_group(
        "performance", "What an animator may ask for; lips close where they must at any setting."
    )
    group.add_argument("--style", type=Path, metavar="FILE.style", help="whose way of speaking (loquent fit-voice)")
    group.add_argument(
        "--mood", action="append", default=[], type=_moods, metavar="NAME=0..1",
        help="happy, sad, angry, surprised or neutral, such as happy=0.6; several mix",
    )  # fmt: skip
    group.add_argument("--mouth-only", action="store_true", help="leave eyes, brows and head at rest")
    for option, what in STRENGTHS.items():
        low, high = RANGES[option.replace("-", "_")]
        group.add_argument(
            f"--{option}",
            type=number(low, high),
            default=1.0,
            metavar=f"{low:g}..{high:g}",
            help=f"strength {what} (default: 1)",
        )
    low, high = RANGES["blink_rate"]
    group.add_argument(
        "--blink-rate", type=number(low, high), default=DEFAULTS.blink_rate, metavar="N",
        help=f"blinks a minute, 0 for none (default: {DEFAULTS.blink_rate:g})",
    )  # fmt: skip
    low, high = RANGES["delay_seconds"]
    group.add_argument(
        "--delay", type=number(1e3 * low, 1e3 * high, 1e-3), default=0.0, metavar="MS",
        help="milliseconds that the mouth comes after the sound; negative before (default: 0)",
    )  # fmt: skip
    low, high = RANGES["smoothing"]
    group.add_argument(
        "--smoothing", type=number(1e3 * low, 1e3 * high, 1e-3), default=DEFAULTS.smoothing, metavar="MS",
        help=f"width of a filter that keeps closures (default: {1e3 * DEFAULTS.smoothing:g})",
    )  # fmt: skip


def _moods(text: str) -> dict[str, float]:
    """`happy=0.6,sad=0.2` -> {"happy": 0.6, "sad": 0.2}."""
    from ..core.prior.controls import MOODS

    found = {}
    for part in text.split(","):
        name, _, amount = part.partition("=")
        name = name.strip().lower()
        if name not in MOODS:
            raise argparse.ArgumentTypeError(
                f"'{part}' is not a mood; expected one of {', '.join(MOODS)}, such as happy=0.6"
            )
        found[name] = number(0, 1)(amount or "1")
    return found


def controls(arguments: argparse.Namespace) -> "Controls":
    """The Controls that the options ask for."""
    from ..core.prior.controls import Controls

    strengths = {name: getattr(arguments, name) for name in (option.replace("-", "_") for option in STRENGTHS)}
    moods = {name: amount for given in arguments.mood for name, amount in given.items()}
    return Controls(
        **strengths, **moods, mouth_only=arguments.mouth_only, blink_rate=arguments.blink_rate,
        delay_seconds=arguments.delay, smoothing=arguments.smoothing,
    )  # fmt: skip


def speak(arguments: argparse.Namespace) -> None:
    """Speech to motion, and on to a scene and a film where asked for."""
    from ..core.head.motion_files import write_motion
    from ..core.prior.generate import default_model, generate
    from ..core.speech.audio import read_audio
    from ..core.splats.avatar import find_avatar

    motions = [path for path in (arguments.csv, arguments.json, arguments.npz) if path]
    if not (arguments.out or arguments.render or motions):
        raise FormatError(
            "Nothing to write: give at least one of --out shot.blend, --render film.mp4, --csv take.csv, --json take.json, "
            "--npz take.npz."
        )
    for path, suffix in (
        (arguments.out, ".blend"), (arguments.render, ".mp4"), (arguments.csv, ".csv"), (arguments.json, ".json"),
        (arguments.npz, ".npz"),
    ):  # fmt: skip
        check_target(path, suffix)
    avatar = find_avatar(arguments.head)
    style = _style(arguments.style)
    bar = Bar()
    with bar.stage("Reading the recording"):
        audio = read_audio(arguments.voice)
    for warning in audio.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    with bar.stage("Speech to motion") as progress:
        model = default_model()
        motion = generate(
            audio, fps=arguments.fps, seed=arguments.seed, controls=controls(arguments), style=style, model=model,
            progress=progress,
        )  # fmt: skip
    if style is not None and style.network != type(model).__name__.lower():
        print(
            f"Note: '{arguments.style}' was fitted to another speech model ({style.network}); fit it again.",
            file=sys.stderr,
        )
    for path in motions:
        write_motion(motion, path)
    written = list(motions)
    if arguments.out or arguments.render:
        written += build_shot(
            arguments.head, avatar, Path(arguments.voice), motion, arguments.size, arguments.out, arguments.render, bar
        )
    for path in written:
        print(f"{path}  ({path.stat().st_size / 1e6:.2f} MB)")
    print(f"{len(motion)} frames at {motion.fps:g} fps, {sum(bar.seconds.values()):.1f} s in all")


def _style(path: Path | None) -> "Style | None":
    if path is None:
        return None
    from ..core.prior.style import read_style

    return read_style(path)


def build_shot(
    head: Any, avatar: Path, voice: Path | None, motion: "Motion", size: tuple[int, int], out: Path | None,
    render: Path | None, bar: Bar, name: str | None = None,
) -> list[Path]:  # fmt: skip
    """Build the scene in Blender's module, save it and render it; what was written."""
    try:
        with bar.stage("Loading Blender"):
            from . import shot
    except ImportError as error:
        raise FormatError(
            "--out and --render need Blender as a Python module: pip install '.[blender]' in Loquent's folder, on Python 3.11 or 3.13. "
            f"({error})"
        ) from error
    with bar.stage("Building the scene"):
        shot.build(
            head=head if str(head) == avatar.stem else avatar.resolve(),
            voice=voice and voice.resolve(), motion=motion, size=size, name=name,
        )  # fmt: skip
    if out:
        with bar.stage("Saving the Blender file"):
            shot.save(out)
    if render:
        with bar.stage("Rendering the film") as progress:
            shot.render(render, progress)
    return [path for path in (out, render) if path]


def fit_voice(arguments: argparse.Namespace) -> None:
    """A recording and the motion of the same person -> their style."""
    from ..core.adapt import voice
    from ..core.head.motion_files import KINDS, check_suffix, read_motion
    from ..core.prior.generate import default_model
    from ..core.prior.style import write_style
    from ..core.speech.audio import read_audio

    check_target(arguments.out, ".style")
    kind = KINDS[check_suffix(arguments.motion)]
    bar = Bar()
    with bar.stage("Reading the take"):
        audio, motion = read_audio(arguments.voice), read_motion(arguments.motion, arguments.fps)
    about = {
        "voice": f"{arguments.voice.name}, sha256 {_digest(arguments.voice)}",
        "motion": f"{arguments.motion.name} ({kind}), sha256 {_digest(arguments.motion)}",
        "consent": arguments.consent or "not stated",
    }
    with bar.stage("Fitting the voice") as progress:
        fit = voice.fit_voice(
            voice.Heard(audio, default_model()), motion, name=arguments.name or arguments.out.stem, about=about,
            zero_shot=arguments.zero_shot, progress=progress,
        )  # fmt: skip
    write_style(fit.style, arguments.out)
    for note in fit.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(f"{arguments.out}  ({arguments.out.stat().st_size / 1e3:.1f} kB), {len(fit.captured)} channels were captured")
    print(
        f"error on the last fifth of the take, which only chose how strong the fit is: {fit.errors['before']:.4f} in the default style, "
        f"{fit.errors['vector']:.4f} told whom to imitate, {fit.errors['after']:.4f} fitted"
    )
    if fit.style.controls:
        print("besides: " + ", ".join(f"{name} {value:g}" for name, value in fit.style.controls.items()))


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:16]


def phones(arguments: argparse.Namespace) -> None:
    """Which viseme is spoken when."""
    from ..core.speech.audio import read_audio
    from ..core.speech.phones import recognise, write_track

    check_target(arguments.out, ".json", ".csv", ".txt")
    bar = Bar()
    with bar.stage("Reading the recording"):
        audio = read_audio(arguments.voice)
    with bar.stage("Listening for visemes") as progress:
        found = recognise(audio, progress=progress)
    if arguments.out:
        write_track(found, arguments.out)
        print(f"{arguments.out}: {len(found)} segments, {audio.seconds:.2f} s")
        return
    for segment in found:
        print(f"{segment.begin:8.2f} {segment.end:8.2f}  {segment.viseme:4} {segment.confidence:.2f}")


def convert(arguments: argparse.Namespace) -> None:
    """A motion file as another kind of motion file."""
    from ..core.head.motion_files import KINDS, WRITERS, check_suffix, read_motion, write_motion

    check_target(arguments.target, *WRITERS)
    motion = read_motion(arguments.source, arguments.source_fps)
    if arguments.fps:
        motion = motion.resample(arguments.fps)
    write_motion(motion, arguments.target)
    print(
        f"{arguments.target}: {KINDS[check_suffix(arguments.target)]}, {len(motion)} frames at {motion.fps:g} fps, "
        f"{motion.seconds:.2f} s"
    )
