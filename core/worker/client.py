# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent's end of a worker: start it, poll it from a timer or wait for it, cancel it, and never hang on it.

A worker serves one job and goes: starting one takes a fraction of a second, and nothing stale can survive in it.
States: starting -> ready -> running -> done | failed | cancelled. `poll` never blocks, so it fits a timer of Blender's.
"""

import importlib.util
import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import Cancelled, WorkerError
from . import protocol

BOOT = Path(__file__).with_name("boot.py")
WHEELS = ("numpy", "soundfile", "safetensors", "onnxruntime", "trimesh")
HELLO_SECONDS = 60.0
QUIT_SECONDS = 2.0
NOISE = re.compile(r"[IW]\d{4} |INFO: |WARNING: All log messages|WARNING: Logging before")
"""Lines that MediaPipe writes whatever happens."""


@dataclass(frozen=True)
class Launch:
    """How to start a worker. executable: a Python; empty for this process's own. threads: 0 for as many as it likes."""

    executable: str = ""
    threads: int = 0
    boot: Path = BOOT


@dataclass(frozen=True)
class Result:
    """What a job gave: small values, and arrays by name."""

    values: dict[str, Any]
    arrays: dict[str, Any] = field(default_factory=dict)


def wheel_folders() -> list[str]:
    """Folders that this process imports the needed wheels from, found without importing any."""
    folders = []
    for name in WHEELS:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            here = Path(spec.origin).parent
            folders.append(str(here.parent if spec.submodule_search_locations else here))
    return list(dict.fromkeys(folders))


def rasteriser() -> str:
    """The `__init__.py` of the wheel with the rasteriser, which fits any Python; empty in a checkout that has built its own."""
    spec = importlib.util.find_spec("loquent_splat")
    return spec.origin or "" if spec else ""


class Worker:
    """One job in a child process.

    Use `poll()` until `result` is set; it raises what the job raised (a class of core/errors), Cancelled, or
    WorkerError with the end of the child's stderr where the child died. `close()` is always safe and takes at most
    about QUIT_SECONDS. `fraction` is of `stage`, where the job names its stages; `preview` is the latest picture of the job,
    (H, W, 3) uint8 sRGB, or None, and `previews` how many there were.
    """

    def __init__(self, launch: Launch, job: str, arguments: dict[str, Any]) -> None:
        self.fraction = 0.0
        self.stage = ""
        self.preview: Any = None
        self.previews = 0
        self.result: Result | None = None
        self._launch = launch
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=40)
        self._greeted = False
        self._cancelling = False
        self._started = time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="loquent-", ignore_cleanup_errors=True)
        self._process = self._start()
        self._threads = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        settings = {
            "threads": launch.threads,
            "paths": wheel_folders(),
            "python": list(sys.version_info[:2]),
            "rasteriser": rasteriser(),
        }
        self._send(json.dumps(settings).encode("ascii") + b"\n")
        self._send(protocol.encode("run", job=job, arguments=arguments, folder=self._folder.name))

    def poll(self) -> bool:
        """Read what has arrived. True when the result is there. Raises the job's error, Cancelled or WorkerError."""
        while self.result is None:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            try:
                self._take(self._died() if line is None else protocol.decode(line))
            except errors.LoquentError as error:
                self.close(patience=0.1)  # nothing more is wanted of this child
                if self._greeted or not self._launch.executable or isinstance(error, Cancelled):
                    raise
                raise WorkerError(
                    f"'{self._launch.executable}' does not work as the worker's Python: {error}\nChoose another interpreter in "
                    "Loquent's preferences, or leave the field empty."
                ) from error
        if self.result is None and not self._greeted and time.monotonic() - self._started > HELLO_SECONDS:
            self.close(patience=0.1)
            raise WorkerError(f"The worker did not answer within {HELLO_SECONDS:.0f} seconds.{self._said()}")
        return self.result is not None

    def cancel(self) -> None:
        """Ask the job to stop; `poll` then raises Cancelled at its next progress step."""
        self._cancelling = True
        self._send(protocol.encode("cancel"))

    def close(self, *, patience: float = QUIT_SECONDS) -> None:
        """End the child: ask, wait `patience` seconds at most, kill. Idempotent."""
        if self._process.poll() is None:
            self._send(protocol.encode("quit"))
            try:
                assert self._process.stdin
                self._process.stdin.close()
            except OSError:
                pass
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for thread in self._threads:
            thread.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                if pipe:
                    pipe.close()
            except OSError:
                pass
        self._folder.cleanup()

    def _start(self) -> "subprocess.Popen[bytes]":
        executable = self._launch.executable or sys.executable
        if Path(executable).is_dir():
            self._folder.cleanup()
            raise WorkerError(
                f"The worker's Python '{executable}' is a folder. Choose the interpreter in it, bin/python or Scripts\\python.exe."
            )
        try:
            # -I: neither the user's site-packages nor PYTHON* variables nor the current folder may change what runs.
            return subprocess.Popen(
                [executable, "-I", "-X", "utf8", str(self._launch.boot)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except OSError as error:
            self._folder.cleanup()
            raise WorkerError(
                f"The worker's Python '{executable}' cannot be started: {error.strerror or error}. "
                "Choose another interpreter in Loquent's preferences, or leave the field empty."
            ) from error

    def _send(self, line: bytes) -> None:
        try:
            assert self._process.stdin
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):
            pass  # the child has gone; its end of the output says why

    def _read_lines(self) -> None:
        assert self._process.stdout
        for line in iter(lambda: self._process.stdout.readline(protocol.MAX_LINE), b""):  # type: ignore[union-attr]
            self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._stderr.append(line.decode("utf-8", "replace").rstrip())

    def _take(self, message: protocol.Message) -> None:
        match message["type"]:
            case "hello":
                self._greet(message)
            case "progress":
                self.fraction = float(message["fraction"])
            case "stage":
                self.stage, self.fraction = (
                    str(message["name"]),
                    0.0 if message["name"] != self.stage else self.fraction,
                )
                self._show(str(message["preview"]))
            case "result":
                self.result = self._read_result(message)
                self.close()
            case "cancelled":
                raise Cancelled("Cancelled; nothing was changed.")
            case "error":
                kind = getattr(errors, message["kind"], WorkerError)
                raise kind(message["message"])
            case other:
                raise WorkerError(f"The worker sent '{other}', which only its parent may say. Loquent stopped it.")

    def _greet(self, message: protocol.Message) -> None:
        self._greeted = True
        if message["protocol"] != protocol.PROTOCOL or message["version"] != protocol.VERSION:
            raise WorkerError(
                f"The worker speaks protocol {message['protocol']} of Loquent {message['version']}; expected protocol "
                f"{protocol.PROTOCOL} of {protocol.VERSION}. Restart Blender after updating the extension."
            )

    def _show(self, name: str) -> None:
        """Take a preview over; one that cannot be read is not worth an error."""
        import numpy as np

        if not name or Path(name).name != name:
            return
        path = Path(self._folder.name) / name
        with suppress(OSError, ValueError):
            picture = np.load(path, allow_pickle=False)
            if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
                self.preview, self.previews = picture, self.previews + 1
            path.unlink()

    def _read_result(self, message: protocol.Message) -> Result:
        import numpy as np

        try:
            folder = Path(self._folder.name)
            arrays = {name: np.load(folder / file, allow_pickle=False) for name, file in message["files"].items()}
        except (OSError, ValueError) as error:
            raise WorkerError(f"The worker's result cannot be read: {error}. Try again.") from error
        return Result(message["values"], arrays)

    def _died(self) -> protocol.Message:
        code = self._process.wait()
        self._threads[1].join(1.0)
        if self._cancelling:
            raise Cancelled("Cancelled; nothing was changed.")
        how = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
        raise WorkerError(f"The worker {how} before it had a result; nothing was changed. Try again.{self._said()}")

    def _said(self) -> str:
        lines = [line for line in self._stderr if line.strip() and not NOISE.match(line)][-6:]
        return "\nIts last words:\n" + "\n".join(lines) if lines else ""


def run(
    launch: Launch,
    job: str,
    arguments: dict[str, Any],
    *,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Run a job to its end and return its result. `progress` may raise Cancelled, which stops the child."""
    worker = Worker(launch, job, arguments)
    try:
        while not worker.poll():
            if progress:
                progress(worker.fraction)
            time.sleep(0.02)
        assert worker.result
        return worker.result
    finally:
        worker.close(patience=0.1)
