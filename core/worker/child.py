# SPDX-License-Identifier: GPL-3.0-or-later
"""The child's end: reads orders on one thread, works on the other, and dies with its parent."""

import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Cancelled, LoquentError
from . import protocol
from .jobs import JOBS


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


def _serve(order: protocol.Message, cancel: threading.Event, say: Any) -> None:
    shown = -1.0

    def progress(fraction: float) -> None:
        nonlocal shown
        if cancel.is_set():
            raise Cancelled("Cancelled.")
        if fraction >= shown + 0.005 or fraction >= 1:  # a hundred-odd messages a job, however often a loop reports
            shown = float(fraction)
            say("progress", fraction=min(max(shown, 0.0), 1.0))

    try:
        progress(0.0)
        values, files = JOBS[order["job"]](order["arguments"], Path(order["folder"]), progress)
        say("result", values=values, files=files)
    except Cancelled:
        say("cancelled")
    except LoquentError as error:
        say("error", kind=type(error).__name__, message=str(error))
    except MemoryError:
        say("error", kind="WorkerError", message="The worker ran out of memory. Use a shorter recording.")
