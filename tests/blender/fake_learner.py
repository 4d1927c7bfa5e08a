# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot file whose child is the real one, but for core.adapt: photos and films become copies of ada in no time.

The fakes have the signatures of the real functions. It stands here, because tests/blender is a package and tests is none.
"""

from pathlib import Path

FAKES = """
import dataclasses, sys, time, types
from pathlib import Path

def plant(name, **content):
    module = types.ModuleType("loquent_worker.core.adapt." + name)
    module.__dict__.update(content)
    sys.modules[module.__name__] = module

@dataclasses.dataclass(frozen=True)
class PhotoOptions:
    name: str
    consent: object
    refine: bool = True
    focal_mm: object = None
    face: int = 1
    seed: int = 0
    model: object = None
    threads: int = 0

@dataclasses.dataclass(frozen=True)
class VideoOptions:
    name: str
    consent: object
    checkpoint: object = None
    steps: object = None
    inpainter: bool = True
    style: bool = True
    size: int = 450
    focal_mm: object = None
    face: int = 1
    seed: int = 0
    model: object = None
    threads: int = 0
    held_out: float = 0.0

@dataclasses.dataclass(frozen=True)
class HeadResult:
    avatar: object
    warnings: tuple = ()
    style: object = None
    track: object = None

def made(options, source, asked):
    from loquent_worker.core.splats.avatar import find_avatar, load_avatar
    about = {**options.consent.about(source), "asked": asked, "licence": "CC0-1.0"}
    return dataclasses.replace(load_avatar(find_avatar("ada")), name=options.name, about=about)

def head_from_photo(path, options, progress=None):
    import numpy as np
    for k in range(5):
        progress("Looking for faces" if k < 2 else "Fitting", k / 4, np.full((640, 400, 3), 40 * k, np.uint8))
        time.sleep(0.03)
    asked = f"refine={options.refine} focal_mm={options.focal_mm} face={options.face}"
    return HeadResult(made(options, "photo", asked), ("The photo is small.",))

def head_from_video(path, options, progress=None):
    import numpy as np
    steps = options.steps or 4
    where = options.checkpoint and options.checkpoint / "step"
    begin = int(where.read_text()) if where and where.exists() else 0
    for k in range(begin, steps):
        progress("Learning", k / steps, np.full((90, 90, 3), k, np.uint8))
        if where:
            where.write_text(str(k))
        time.sleep(0.02)
    style = Path(path).with_name("learned.style")
    style.write_text("style")
    return HeadResult(made(options, "video", f"began at {begin}"), (), style)

@dataclasses.dataclass(frozen=True)
class ImportOptions:
    name: str = ""
    about: object = None
    head: object = None
    params: object = None
    landmarks: object = None
    model: object = None

@dataclasses.dataclass(frozen=True)
class Imported:
    avatar: object
    kind: str
    notes: tuple
    head: object = None

def import_head(path, options, progress=None):
    import numpy as np
    from loquent_worker.core.splats.avatar import find_avatar, load_avatar
    progress("find the face", 0.5, None)
    progress("register", 0.0, np.full((320, 320, 3), 90, np.uint8))
    progress("bind", 1.0, None)
    given = [name for name in ("head", "params", "landmarks") if getattr(options, name)]
    about = {**options.about, "asked": " ".join(given)}
    avatar = dataclasses.replace(load_avatar(find_avatar("ada")), name=options.name, about=about)
    return Imported(avatar, "still", ("Registered to 1.00 mm in the mean.",))

plant("import_head", ImportOptions=ImportOptions, import_head=import_head, kind_of=lambda path: "still")
plant("photo", PhotoOptions=PhotoOptions, head_from_photo=head_from_photo)
plant("video", VideoOptions=VideoOptions, head_from_video=head_from_video)
plant("environment", check=lambda: None)
"""


def write_boot(folder: Path) -> Path:
    """The boot file in a folder, for Launch."""
    from loquent.core.worker.client import BOOT

    path = folder / "fake_learner_boot.py"
    real = BOOT.read_text(encoding="utf-8").replace("Path(__file__)", f"Path({str(BOOT)!r})")
    path.write_text(FAKES + real, encoding="utf-8")
    return path
