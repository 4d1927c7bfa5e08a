# SPDX-License-Identifier: GPL-3.0-or-later
"""What parent and child say to each other: one JSON object a line, on the child's standard input and output.

Child to parent: `hello` (protocol, version, python), then for each job any number of `progress` (fraction) and `stage`
(name of what is done now, preview: file of a small picture, or empty; the fraction begins again) and exactly one of `result` (values, files), `error` (kind, message) or `cancelled`. Parent to child: `run` (job, arguments,
folder), `cancel`, `quit`. Arrays never travel here: a job writes them as .npy files into the folder that the parent
names.
"""

import json
from typing import Any

from ..assets import installed_version
from ..errors import WorkerError

PROTOCOL = 2
"""Raised whenever a message changes its meaning; both ends must agree on it."""

MAX_LINE = 1 << 20
"""Longest message in bytes: anything longer belongs into a file."""

FIELDS: dict[str, tuple[str, ...]] = {
    "hello": ("protocol", "version", "python"),
    "progress": ("fraction",),
    "stage": ("name", "preview"),
    "result": ("values", "files"),
    "error": ("kind", "message"),
    "cancelled": (),
    "run": ("job", "arguments", "folder"),
    "cancel": (),
    "quit": (),
}

Message = dict[str, Any]

VERSION = installed_version()
"""Version that this process imported."""


def encode(kind: str, /, **fields: Any) -> bytes:
    """One line, ending in a newline. ASCII, so that no code page between the two ends matters."""
    assert set(fields) == set(FIELDS[kind]), (kind, fields)
    line = json.dumps({"type": kind, **fields}, allow_nan=False).encode("ascii") + b"\n"
    assert len(line) <= MAX_LINE, len(line)
    return line


def decode(line: bytes) -> Message:
    """The message in a line. Raises WorkerError for anything that is not one."""
    try:
        message = json.loads(line)
    except ValueError:
        raise WorkerError(f"The worker sent a line that is not JSON: {line[:80]!r}. Loquent stopped it.") from None
    kind = message.get("type") if isinstance(message, dict) else None
    if kind not in FIELDS:
        raise WorkerError(f"The worker sent a message of unknown type: {line[:80]!r}. Loquent stopped it.")
    missing = [name for name in FIELDS[kind] if name not in message]
    if missing:
        raise WorkerError(f"The worker's message '{kind}' lacks {', '.join(missing)}. Loquent stopped it.")
    return message
