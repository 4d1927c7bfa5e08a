# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays out of a pickle, without unpickling it: FLAME 2020 and 2023 come as .pkl files with numpy, scipy and chumpy in them.

A pickle is a program. Python's own machine for it imports and calls what the program names, and lists of what is allowed
have been outwitted before. This is another machine for the same language: it knows data (numbers, text, lists,
dictionaries), and of names only those few that numpy, scipy.sparse and chumpy write for arrays. Those are never imported
nor called, not even the good ones: each has a function here that puts an array together from plain data, with its own checks.
Any other name, and any call of something else, is a FormatError before anything has happened.

The standard library's pickletools splits the file into opcodes; it runs nothing.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..files import check_readable
from .pickle_opcodes import CONSTANTS, HANDLERS, MARK, PUSHES, described

MAX_BYTES = 1 << 28
"""Of a file; FLAME 2023 has 53 MB."""
MAX_MADE = 1 << 30
"""Bytes that all arrays and texts of one file may take: one text may be asked for many times."""
MAX_STEPS = 2_000_000
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class _Name:
    """Something the file wants imported. It never is."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class _Shell:
    """An object of a known class, empty but for what the file puts in."""

    kind: str
    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Array:
    """An array that BUILD will fill."""

    value: np.ndarray | None = None


@dataclass
class _Kind:
    """A dtype that BUILD may give a byte order."""

    code: str
    order: str = "="

    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.code)


_SHELLS = {
    **{f"scipy.sparse.{m}.{k}_{s}": k for k in ("csc", "csr", "coo") for m in (k, "_" + k) for s in ("matrix", "array")},
    "chumpy.ch.Ch": "Ch", "chumpy.Ch": "Ch", "chumpy.reordering.Select": "Select",
}  # fmt: skip
_PYTHON2 = {"copy_reg": "copyreg", "__builtin__": "builtins"}


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of a dictionary in a .pkl, sparse ones filled up, by name; what is no array of numbers is left out.

    Raises FormatError for a file that is no pickle, names anything but arrays, or would take too much memory.
    """
    path = Path(path)
    check_readable(path, "a FLAME .pkl", MAX_BYTES)
    machine = _Machine(path)
    try:
        return machine.arrays(path.read_bytes())
    except FormatError:
        raise
    except OSError as error:
        raise FormatError(f"'{path}' cannot be read: {error.strerror or error}. Copy it to a local disk.") from error
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RecursionError, MemoryError,
            AssertionError) as error:  # fmt: skip
        raise FormatError(
            f"'{path}' is not a pickle that can be followed ({type(error).__name__}: {error}). It is damaged, cut short or "
            "something else; download it again."
        ) from error


class _Machine:
    """The stack, the memo and what may be put on them."""

    def __init__(self, path: Path):
        self.path = path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.made = 0

    def refuse(self, what: str) -> FormatError:
        return FormatError(
            f"'{self.path}' was not opened: it wants to run {what}, which no array needs. FLAME's own files hold nothing of "
            "the kind: do not trust this file and do not open it with anything else; get the model from flame.is.tue.mpg.de."
        )

    def took(self, count: int) -> None:
        self.made += count
        if self.made > MAX_MADE:
            raise FormatError(
                f"'{self.path}' would unfold to more than {MAX_MADE:,} bytes; a FLAME model has some 100,000,000. Refused."
            )

    def arrays(self, data: bytes) -> dict[str, np.ndarray]:
        """What `read_arrays` gives."""
        found = self.run(data)
        if not isinstance(found, dict):
            raise FormatError(
                f"'{self.path}': expected a dictionary of arrays, found {described(found)}. It is not a FLAME model."
            )
        out = {}
        for name, value in found.items():
            array = self.array_of(value)
            if isinstance(name, str | bytes) and array is not None and array.dtype.kind in "fiub":
                out[name if isinstance(name, str) else name.decode("latin-1")] = array
        return out

    def run(self, data: bytes) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(BytesIO(data))):
            if step > MAX_STEPS:
                raise FormatError(
                    f"'{self.path}' has over {MAX_STEPS:,} steps; a FLAME model has some hundred. Refused."
                )
            name = opcode.name
            if name == "STOP":
                return self.pop()
            if name in PUSHES:
                self.stack.append(argument)
            elif name in CONSTANTS:
                value = CONSTANTS[name]
                self.stack.append(value() if callable(value) else value)
            elif handler := HANDLERS.get(name):
                handler(self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise self.refuse(f"the opcode {name}")
        raise ValueError("it ends without STOP")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise ValueError("nothing on the stack where something is needed")
        return value

    def marked(self) -> list[Any]:
        at = self._mark()
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _mark(self) -> int:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is MARK:
                return at
        raise ValueError("no mark on the stack")

    # --- names and calls -----------------------------------------------------------------------------------------

    def named(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.refuse("a name that is no text")
        known = _Name(_PYTHON2.get(module, module).replace("numpy._core.", "numpy.core."), name)
        if str(known) not in _CALLS and str(known) not in _SHELLS and str(known) not in _WORDS:
            raise self.refuse(f"'{module}.{name}'"[:120])
        self.stack.append(known)

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise self.refuse(f"a call of {described(function)}")
        if str(function) in _SHELLS:
            self.new(function, arguments)
            return
        if str(function) not in _CALLS:
            raise self.refuse(f"a call of '{function}'")
        self.stack.append(_CALLS[str(function)](self, *arguments))

    def new(self, kind: Any, arguments: Any) -> None:
        if not isinstance(kind, _Name) or str(kind) not in _SHELLS or arguments != ():
            raise self.refuse(f"the making of {kind if isinstance(kind, _Name) else described(kind)} from arguments")
        self.stack.append(_Shell(_SHELLS[str(kind)]))

    def build(self) -> None:
        state = self.pop()
        target = self.pop()
        self.stack.append(target)
        if isinstance(state, tuple) and len(state) == 2 and isinstance(target, _Shell) and state[1] is None:
            state = state[0]
        if isinstance(target, _Shell) and isinstance(state, dict):
            target.state.update({k: v for k, v in state.items() if isinstance(k, str)})
        elif isinstance(target, _Array) and isinstance(state, tuple) and len(state) in (4, 5):
            shape, kind, fortran, raw = tuple(state)[-4:]
            target.value = self.array(raw, kind, shape, "F" if fortran is True or fortran == 1 else "C")
        elif (
            isinstance(target, _Kind)
            and isinstance(state, tuple)
            and len(state) > 1
            and state[1] in ("<", ">", "|", "=")
        ):
            target.order = state[1]
            if any(part not in (None, -1, 0) for part in state[2:]):
                raise FormatError(f"'{self.path}' holds arrays of records or of objects; expected plain numbers.")
        else:
            raise self.refuse(f"a change of {described(target)}")

    # --- what the known names make -------------------------------------------------------------------------------

    def array(self, raw: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
        """An array of raw bytes (bytes, or text of Python 2 whose characters are bytes)."""
        if isinstance(raw, str):
            raw = raw.encode("latin-1")
        if not isinstance(raw, bytes | bytearray) or not isinstance(kind, _Kind):
            raise FormatError(f"'{self.path}' holds an array of objects; expected plain numbers.")
        if isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or not all(_is_count(n) for n in shape):
            raise ValueError(f"an array of shape {str(shape)[:60]}")
        dtype = kind.dtype()
        count = 1
        for n in shape:
            count *= n
        if count * dtype.itemsize != len(raw):
            raise ValueError(f"an array of {str(shape)[:60]} in {len(raw):,} bytes")
        self.took(2 * len(raw))
        shaped = np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")
        return np.array(shaped, dtype.newbyteorder("="), order="C")

    def array_of(self, value: Any, depth: int = 0) -> np.ndarray | None:
        """The array that a value is, or None: chumpy's shells opened, sparse ones filled."""
        if isinstance(value, _Array):
            return value.value
        if isinstance(value, np.ndarray | np.number):
            return np.asarray(value)
        if not isinstance(value, _Shell) or depth > 8:
            return None
        state = value.state
        if value.kind == "Ch":
            return self.array_of(state.get("x"), depth + 1)
        if value.kind == "Select":
            return self._selected(state, depth)
        return self._filled(value.kind, state, depth)

    def _selected(self, state: dict[str, Any], depth: int) -> np.ndarray | None:
        source, where = self.array_of(state.get("a"), depth + 1), self.array_of(state.get("idxs"), depth + 1)
        if source is None or where is None or where.dtype.kind not in "iu":
            return None
        self.took(where.size * source.itemsize)
        if where.size and not 0 <= where.min() <= where.max() < source.size:
            raise ValueError("a selection beyond its array")
        out = source.reshape(-1)[where.reshape(-1)]
        shape = state.get("preferred_shape")
        return out.reshape(shape) if isinstance(shape, tuple) and all(_is_count(n) for n in shape) else out

    def _filled(self, kind: str, state: dict[str, Any], depth: int) -> np.ndarray | None:
        shape = state.get("_shape", state.get("shape"))
        names = ("data", "row", "col") if kind == "coo" else ("data", "indices", "indptr")
        parts = [self.array_of(state.get(name), depth + 1) for name in names]
        if (
            not isinstance(shape, tuple) or len(shape) != 2 or not all(_is_count(n) for n in shape)
            or any(part is None or part.ndim != 1 for part in parts)
        ):  # fmt: skip
            raise ValueError(f"a sparse matrix without its parts, shape {str(shape)[:40]}")
        data, first, second = (part for part in parts if part is not None)
        rows, columns = shape
        self.took(8 * rows * columns)
        if kind == "coo":
            r, c = first, second
        else:
            lines = columns if kind == "csc" else rows
            if len(second) != lines + 1 or second[0] != 0 or second[-1] != len(first) or (np.diff(second) < 0).any():
                raise ValueError("a sparse matrix whose rows do not add up")
            line = np.repeat(np.arange(lines), np.diff(second))
            r, c = (first, line) if kind == "csc" else (line, first)
        if len(r) != len(c) or len(r) != len(data) or data.dtype.kind not in "fiu" or (
            len(r) and not (0 <= r.min() <= r.max() < rows and 0 <= c.min() <= c.max() < columns)
        ):  # fmt: skip
            raise ValueError("a sparse matrix with entries beyond its shape")
        out = np.zeros((rows, columns))
        np.add.at(out, (r, c), data)
        return out


def _is_count(n: Any) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 40


def _reconstruct(machine: _Machine, kind: Any, shape: Any, code: Any) -> _Array:
    if kind != _Name("numpy", "ndarray") or shape not in ((0,), 0):
        raise machine.refuse("numpy's _reconstruct on something else than an empty array")
    return _Array()


def _reconstructor(machine: _Machine, kind: Any, base: Any, state: Any) -> _Shell:
    if (
        not isinstance(kind, _Name)
        or str(kind) not in _SHELLS
        or base != _Name("builtins", "object")
        or state is not None
    ):
        raise machine.refuse("copyreg on something else than an empty array of chumpy or scipy")
    return _Shell(_SHELLS[str(kind)])


def _dtype(machine: _Machine, code: Any, *rest: Any) -> _Kind:
    if isinstance(code, bytes):
        code = code.decode("latin-1")
    if code not in _CODES:
        raise FormatError(f"'{machine.path}' holds an array of kind {str(code)[:20]!r}; expected plain numbers.")
    return _Kind(code)


def _encode(machine: _Machine, text: Any, code: Any = "latin1") -> bytes:
    if not isinstance(text, str) or code not in ("latin1", "latin-1"):
        raise machine.refuse("a conversion of text")
    machine.took(len(text))
    return text.encode("latin-1")


def _scalar(machine: _Machine, kind: Any, raw: Any = b"") -> np.ndarray:
    return machine.array(raw, kind, (), "C")


def _frombuffer(machine: _Machine, raw: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    return machine.array(raw, kind, shape, order)


_CODES = {a + str(n) for a, n in (*(("i", n) for n in (1, 2, 4, 8)), *(("u", n) for n in (1, 2, 4, 8)),
                                  ("f", 2), ("f", 4), ("f", 8), ("b", 1))}  # fmt: skip
_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy.dtype": _dtype,
    "copyreg._reconstructor": _reconstructor,
    "_codecs.encode": _encode,
}
_WORDS = {"numpy.ndarray", "builtins.object"}
"""Names that may only stand as arguments of those calls."""
