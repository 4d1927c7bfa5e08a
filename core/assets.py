# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that ship with Loquent, by name. Nothing here downloads anything."""

from pathlib import Path

from .errors import AssetError

DATA = Path(__file__).parent / "data"
AVATARS = ("ada", "bruno")


def data_file(name: str) -> Path:
    """Path of a file in `core/data`. Raises AssetError where the installation lacks it."""
    path = DATA / name
    if not path.is_file():
        raise AssetError(
            f"Loquent's own file '{name}' is missing: expected it at {path}. Reinstall the extension; "
            "in a source checkout, fetch the file again from version control."
        )
    return path
