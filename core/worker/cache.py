# SPDX-License-Identifier: GPL-3.0-or-later
"""What was heard, kept: a recording spoken again with other moods, keys or frame rate is not heard again.

Hearing is nearly all of the work and depends on the sound, the seed and the style alone; everything an animator turns acts
afterwards (prior/perform.py). Files can be deleted at any time.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..assets import DATA
from ..errors import LoquentError
from ..files import written_whole
from ..prior.perform import Raw, load_raw, save_raw
from .protocol import VERSION

UNFINISHED = "unfinished"
"""Folder within a cache for the work of heads that were cancelled."""
Said = list[tuple[float, float, str]]
"""(begin, end, viseme), seconds."""


def key_of(samples: np.ndarray, seed: int, style: Path | None) -> str:
    """A name for everything that hearing depends on: the sound, seed, style, weights and code."""
    digest = hashlib.sha256(np.ascontiguousarray(samples, np.float32).tobytes())
    digest.update(f"{VERSION} {seed}".encode())
    if style:
        digest.update(style.read_bytes())
    core = DATA.parent
    for path in sorted([*DATA.glob("*.onnx"), *core.glob("prior/*.py"), *core.glob("speech/*.py")]):
        info = path.stat()
        digest.update(f"{path.name} {info.st_size} {info.st_mtime_ns}".encode())
    return digest.hexdigest()[:40]


@dataclass(frozen=True)
class Cache:
    """folder: None for no cache; limit: bytes that it may hold. Whatever goes wrong with its files counts as not kept."""

    folder: Path | None
    limit: float

    def find(self, key: str) -> tuple[Raw, Said] | None:
        """What was kept under a key, which counts as used now."""
        if self.folder is None:
            return None
        raw, said = self._paths(key)
        try:
            found = load_raw(raw), [(float(a), float(b), str(name)) for a, b, name in json.loads(said.read_text())]
        except (OSError, ValueError, TypeError, LoquentError):
            return None
        with suppress(OSError):
            for path in (raw, said):
                os.utime(path)
        return found

    def keep(self, key: str, raw: Raw, said: Said) -> None:
        if self.folder is None or self.limit <= 0:
            return
        with suppress(OSError, LoquentError):  # a full disk or a folder without access must not cost the speech
            paths = self._paths(key)
            save_raw(raw, paths[0])
            with written_whole(paths[1]) as path:
                path.write_text(json.dumps(said))
            trim(self.folder, self.limit)

    def _paths(self, key: str) -> tuple[Path, Path]:
        assert self.folder
        return self.folder / f"{key}.speech", self.folder / f"{key}.json"


def trim(folder: Path, limit: float) -> int:
    """Delete the files of a cache that were not used for longest until it holds `limit` bytes at most; bytes freed.

    Unfinished heads are spared and not counted, for half of one is worth nothing (making.py forgets old ones), unless all
    shall go: limit 0.
    """
    files = []
    for path in folder.rglob("*"):
        if limit > 0 and path.relative_to(folder).parts[0] == UNFINISHED:
            continue
        with suppress(OSError):  # another Blender deletes too
            info = path.stat()
            files += [(info.st_mtime_ns, info.st_size, path)] if path.is_file() else []
    freed = held = 0
    for _, size, path in sorted(files, key=lambda f: f[0], reverse=True):
        if held + size <= limit:
            held += size
            continue
        with suppress(OSError):  # another program holds it open
            path.unlink()
            freed += size
    return freed
