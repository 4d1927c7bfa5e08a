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


def installed_version() -> str:
    """Version of the extension as it lies on disk now: it changes under a running Blender when it is updated."""
    import tomllib  # two milliseconds that registering need not pay

    manifest = Path(__file__).resolve().parent.parent / "blender_manifest.toml"
    try:
        return str(tomllib.loads(manifest.read_text("utf-8"))["version"])
    except (OSError, KeyError, ValueError):
        return "0"
