# SPDX-License-Identifier: GPL-3.0-or-later
"""Safetensors with a JSON header and a version: the container of avatars and weights.

A file holds named arrays, and in its metadata `loquent`: a JSON object with `format` (what it is), `version` (an integer
that grows when older readers would misread it) and whatever the format adds. Never a pickle.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import FormatError
from .files import check_readable, written_whole

MAX_BYTES = 1 << 30
"""Larger files are refused: no head or model of ours comes near it, and a lying header must not fill the memory."""


def write(path: Path | str, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and header; `header` must hold `format` and `version`."""
    assert {"format", "version"} <= set(header), header
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with written_whole(path) as temporary:
        save_file(contiguous, str(temporary), {"loquent": json.dumps(header, ensure_ascii=False, sort_keys=True)})


def read_header(path: Path | str, *, format: str, version: int) -> dict[str, Any]:
    """The JSON header alone. Raises FormatError as `read` does."""
    return _open(Path(path), format, version, arrays=False)[1]


def read(path: Path | str, *, format: str, version: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and header of a file of this format, at most this version.

    Raises FormatError for a missing, foreign, truncated or newer file.
    """
    return _open(Path(path), format, version, arrays=True)


def _open(path: Path, format: str, version: int, arrays: bool) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise FormatError(f"'{path}': expected a {format} file, found {found} there. Check the path.")
    check_readable(path, f"a {format} file", MAX_BYTES)
    try:
        with safe_open(str(path), "numpy") as file:
            text = (file.metadata() or {}).get("loquent")
            header = json.loads(text) if text else {}
            _check(path, header, format, version)
            return ({name: file.get_tensor(name) for name in file.keys()} if arrays else {}), header  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise FormatError(
            f"'{path}' cannot be read as a {format} file: {error}. It is damaged, cut short, or something else; "
            "copy or export it again."
        ) from error


def _check(path: Path, header: Any, format: str, version: int) -> None:
    found = header.get("format") if isinstance(header, dict) else None
    if found != format:
        raise FormatError(
            f"'{path}': expected a {format} file, found {found or 'a safetensors file that Loquent did not write'}."
        )
    if not isinstance(header.get("version"), int) or header["version"] > version:
        raise FormatError(
            f"'{path}' is a {format} file of version {header.get('version')}; this Loquent reads up to {version}. "
            "Update Loquent."
        )
