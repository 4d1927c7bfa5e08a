# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing without losing anything: a file appears whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FormatError


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` to write to, renamed onto `path` when the block ends without an error.

    The temporary name keeps the suffix of `path`, for writers that choose a format by it. On an error the temporary file
    is removed and whatever stood at `path` stays untouched. Raises FormatError where the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise FormatError(
            f"Cannot write '{path}': {error.strerror or error}. Choose a folder you may write to, with space left."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; a user expects ordinary permissions
        temporary.replace(path)
    except OSError as error:
        raise FormatError(f"Cannot write '{path}': {error.strerror or error}. Nothing was changed.") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_readable(path: Path, what: str, limit: int) -> None:
    """Raises FormatError where `path` is nothing, a folder, empty, or larger than `limit` bytes; `what` it should be: "a take"."""
    if path.is_dir():
        raise FormatError(f"'{path}' is a folder; expected {what}. Choose a file inside it.")
    if not path.is_file():
        raise FormatError(f"There is no file '{path}'. Check the path.")
    size = path.stat().st_size
    if not size:
        raise FormatError(f"'{path}' is empty (0 bytes); expected {what}. Export or copy it again.")
    if size > limit:
        raise FormatError(f"'{path}' has {size:,} bytes; expected {what}, which has at most {limit:,}.")
