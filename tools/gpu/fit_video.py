# SPDX-License-Identifier: GPL-3.0-or-later
"""A head from a film on an NVIDIA card, timed: python3 tools/gpu/fit_video.py --work FOLDER [--wheels FOLDER] [--device cuda].

FOLDER is what `loquent head from-video --work FOLDER` or tools/heads/video_bench.py left after tracking and cutting out (take.track and
pictures/): neither MediaPipe nor the film is needed on the card. Without one a film of the built-in head is drawn. Prints
milliseconds a step on pictures of each size and the minutes of the whole, the rasteriser's gsplat and the CPU's side by side.
Nobody has run this on a card yet.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from check import install


def made_up(folder: Path, frames: int = 60, size: int = 450) -> None:
    """Ada, who opens her mouth and turns a little, as take.track and pictures."""
    import numpy as np

    from loquent.core.adapt import footage
    from loquent.core.capture.embedding import load_embedding
    from loquent.core.capture.track import Track, save_track
    from loquent.core.geometry.cameras import look_at
    from loquent.core.head.head import load_head, pose_vertices
    from loquent.core.head.motion import CHANNELS, INDEX, Motion
    from loquent.core.splats.avatar import builtin_avatars, load_avatar, performer, pose
    from loquent.core.splats.rasterize import rasterize

    camera = look_at((0, 0.02, 0.95), (0, 0, 0), width=size, height=size)
    avatar = load_avatar(builtin_avatars()["ada"])
    actor, at = performer(avatar), np.arange(frames) / 12
    values = np.zeros((frames, len(CHANNELS)), np.float32)
    values[:, INDEX["jawOpen"]], values[:, INDEX["headYaw"]] = 0.2 * (1 - np.cos(4 * at)), 0.12 * np.sin(at)
    (folder / "pictures").mkdir(parents=True)
    for k, row in enumerate(values):
        drawn = rasterize(pose(actor, row), camera)
        alpha = np.clip(drawn.alpha, 0, 1)
        straight = footage.encoded(drawn.colour / np.maximum(alpha, 1e-3)[..., None])
        footage._write(folder / "pictures" / footage._name(k), straight, alpha)
    points = load_embedding(load_head()).of(pose_vertices(actor.identity, values))
    seen = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    pixels = seen[..., :2] / seen[..., 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    sure = np.ones(frames, np.float32)
    motion = Motion(25.0, values)
    save_track(Track(avatar.betas, camera, motion, sure, pixels, avatar.head_id, "ada"), folder / "take.track")


def timed(folder: Path, device: str, steps: int) -> dict[str, float]:
    """Milliseconds a step at each size, with tracks and colours moving, and the minutes of the usual recipe at these speeds."""
    import numpy as np
    import torch

    from loquent.core.adapt.footage import Footage, windows_of
    from loquent.core.adapt.start import start_of
    from loquent.core.adapt.video_fit import Fit, Recipe, Stage, recipe
    from loquent.core.capture.track import load_track
    from loquent.core.head.head import load_head

    track = load_track(folder / "take.track")
    index = np.array(sorted(int(p.stem) for p in (folder / "pictures").glob("*.png")))
    windows = windows_of(track)
    size = max(max(w.width, w.height) for w in windows)
    footage = Footage(folder / "pictures", index, tuple(windows[i] for i in index), track.camera, min(size, 450))
    head, found, minutes = load_head(), {}, 0.0
    for stage in recipe(footage.size).stages:
        plan = Recipe((Stage(stage.size, steps, stage.joint, stage.colour),))
        fit = Fit(head, start_of(head, track.betas), footage, track, plan, device=device)
        fit.survey(4)
        for _ in range(5):
            fit.step()
        if device != "cpu":
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(steps - 5):
            fit.step()
        if device != "cpu":
            torch.cuda.synchronize()
        each = (time.perf_counter() - began) / (steps - 5)
        name = f"{stage.size}{'_joint' * stage.joint}{'_colour' * stage.colour}_ms"
        found[name] = round(1e3 * each, 2)
        minutes += each * stage.steps / 60
    return found | {"recipe_minutes": round(minutes, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="tracked and cut already")
    parser.add_argument(
        "--wheels", type=Path, help="folder with the wheels of gsplat and others, where pip has no network"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=60, help="at each size")
    parser.add_argument("--out", type=Path, help="JSON with the figures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        site.mkdir()
        install(given.wheels, site)
        work = given.work or Path(folder) / "film"
        if not given.work:
            made_up(work)
        figures = {device: timed(work, device, given.steps) for device in dict.fromkeys((given.device, "cpu"))}
    print(json.dumps(figures, indent=1))
    if given.out:
        given.out.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
