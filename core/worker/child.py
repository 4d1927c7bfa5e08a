# SPDX-License-Identifier: GPL-3.0-or-later
"""The child's end: reads orders on one thread, works on the other, and dies with its parent."""

import json
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Cancelled, LoquentError
from . import protocol
from .jobs import JOBS

PREVIEW_PIXELS = 400
"""Longer side of a preview."""
PREVIEW_SECONDS = 0.5
"""Between two previews."""


def main() -> int:
    """Serve jobs until `quit` or until the parent closes the pipe; a cancel ends the present job and all after it."""
    out = _private_output()
    say = _speaker(out)
    say("hello", protocol=protocol.PROTOCOL, version=protocol.VERSION, python=sys.version.split()[0])
    orders: queue.SimpleQueue[protocol.Message | None] = queue.SimpleQueue()
    cancel = threading.Event()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, orders, cancel), daemon=True).start()
    code = 0
    try:
        while (order := orders.get()) is not None:
            _serve(order, cancel, say)
    except BaseException:
        traceback.print_exc()  # the parent shows its last lines
        code = 1
    # Without finalisation: neither the listening thread nor a native library's threads may hold up the end.
    sys.stderr.flush()
    os._exit(code)


def _private_output() -> BinaryIO:
    """The pipe to the parent, with descriptor 1 pointed at stderr: prints of libraries cannot break the protocol."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


def _speaker(out: BinaryIO):
    lock = threading.Lock()

    def say(kind: str, /, **fields: Any) -> None:
        with lock:
            out.write(protocol.encode(kind, **fields))
            out.flush()

    return say


def _listen(pipe: BinaryIO, orders: "queue.SimpleQueue[protocol.Message | None]", cancel: threading.Event) -> None:
    for line in pipe:
        order = json.loads(line)
        if order["type"] == "cancel":
            cancel.set()
        elif order["type"] == "quit":
            break
        else:
            orders.put(order)
    # The parent has gone or wants us gone: finish what runs at the next progress call.
    cancel.set()
    orders.put(None)


class Report:
    """What a job calls as it goes: `report(fraction)` and `report.stage(name, picture)`; both raise Cancelled."""

    def __init__(self, say: Any, cancel: threading.Event, folder: Path) -> None:
        self._say, self._cancel, self._folder = say, cancel, folder
        self._shown = -1.0
        self._stage = ""
        self._drawn, self._pictures = -PREVIEW_SECONDS, 0

    def __call__(self, fraction: float) -> None:
        if self._cancel.is_set():
            raise Cancelled("Cancelled.")
        if fraction >= self._shown + 0.005 or fraction >= 1 > self._shown:  # a hundred-odd messages a stage at most
            self._shown = float(fraction)
            self._say("progress", fraction=min(max(self._shown, 0.0), 1.0))

    def stage(self, name: str, picture: Any = None) -> None:
        """name: what is done now, for people. picture: (H, W, 3) uint8 sRGB to show meanwhile; some are left out."""
        if self._cancel.is_set():
            raise Cancelled("Cancelled.")
        now = time.monotonic()
        preview = ""
        if picture is not None and now - self._drawn >= PREVIEW_SECONDS:
            preview = self._written(picture)
            self._drawn = now
        if preview or name != self._stage:
            self._say("stage", name=name, preview=preview)
        if name != self._stage:
            self._stage, self._shown = name, -1.0

    def _written(self, picture: Any) -> str:
        """Name of a new file with every n-th pixel: the pipe carries no arrays."""
        import numpy as np

        picture = np.asarray(picture)
        if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            return ""
        step = -(-max(picture.shape) // PREVIEW_PIXELS)
        if picture.dtype != np.uint8:
            picture = np.clip(np.nan_to_num(picture) * 255, 0, 255).astype(np.uint8)
        self._pictures += 1
        name = f"preview-{self._pictures}.npy"
        np.save(self._folder / name, np.ascontiguousarray(picture[::step, ::step]), allow_pickle=False)
        return name


def _serve(order: protocol.Message, cancel: threading.Event, say: Any) -> None:
    try:
        progress = Report(say, cancel, Path(order["folder"]))
        progress(0.0)
        values, files = JOBS[order["job"]](order["arguments"], Path(order["folder"]), progress)
        say("result", values=values, files=files)
    except Cancelled:
        say("cancelled")
    except LoquentError as error:
        say("error", kind=type(error).__name__, message=str(error))
    except MemoryError:
        say("error", kind="WorkerError", message="The worker ran out of memory. Use a shorter recording or film.")
