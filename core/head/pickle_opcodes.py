# SPDX-License-Identifier: GPL-3.0-or-later
"""The opcodes of pickles as far as they handle data: stack, memo, lists and dictionaries (flame_pickle.py says what else).

What calls something, or names something to import, is handed to the machine's `named`, `call`, `new` and `build`, which
decide. Opcodes that are not here (persistent ids, the extension registry, buffers from outside) do not exist for us.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import FormatError

MARK = object()


class Machine(Protocol):
    """What the opcodes need of flame_pickle's machine."""

    stack: list[Any]
    memo: dict[int, Any]

    def refuse(self, what: str) -> FormatError: ...
    def pop(self) -> Any: ...
    def marked(self) -> list[Any]: ...
    def named(self, module: Any, name: Any) -> None: ...
    def call(self, function: Any, arguments: Any) -> None: ...
    def new(self, kind: Any, arguments: Any) -> None: ...
    def build(self) -> None: ...


def described(value: Any) -> str:
    """What a value is, for messages: never its own text, which may be long or hostile."""
    return {"_Array": "an array", "_Shell": "an object", "_Name": "a name", "_Kind": "a kind of number"}.get(
        type(value).__name__, type(value).__name__
    )


PUSHES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "FLOAT", "BINFLOAT",
}  # fmt: skip
CONSTANTS: dict[str, Any] = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_LIST": list, "EMPTY_TUPLE": (), "EMPTY_DICT": dict,
    "EMPTY_SET": list, "MARK": lambda: MARK,
}  # fmt: skip


def _global(machine: Machine, argument: str) -> None:
    machine.named(*argument.split(" ", 1))


def _stack_global(machine: Machine, _: Any) -> None:
    name = machine.pop()
    machine.named(machine.pop(), name)


def _build(machine: Machine, _: Any) -> None:
    machine.build()


def _reduce(machine: Machine, _: Any) -> None:
    arguments = machine.pop()
    machine.call(machine.pop(), arguments)


def _newobj(machine: Machine, _: Any) -> None:
    arguments = machine.pop()
    machine.new(machine.pop(), arguments)


def _newobj_ex(machine: Machine, _: Any) -> None:
    named = machine.pop()
    if named != {}:
        raise machine.refuse("the making of an object from named arguments")
    _newobj(machine, None)


def _object(machine: Machine, _: Any) -> None:
    items = machine.marked()
    machine.new(items[0], tuple(items[1:]))


def _inst(machine: Machine, argument: str) -> None:
    items = machine.marked()
    machine.named(*argument.split(" ", 1))
    machine.new(machine.pop(), tuple(items))


def _tuple(count: int) -> Callable[[Machine, Any], None]:
    def make(machine: Machine, _: Any) -> None:
        items = [machine.pop() for _ in range(count)][::-1]
        machine.stack.append(tuple(items))

    return make


def _marked_tuple(machine: Machine, _: Any) -> None:
    machine.stack.append(tuple(machine.marked()))


def _marked_list(machine: Machine, _: Any) -> None:
    machine.stack.append(machine.marked())


def _marked_dict(machine: Machine, _: Any) -> None:
    items = machine.marked()
    machine.stack.append(_pairs(items))


def _append(machine: Machine, _: Any) -> None:
    value = machine.pop()
    _list(machine).append(value)


def _appends(machine: Machine, _: Any) -> None:
    items = machine.marked()
    _list(machine).extend(items)


def _setitem(machine: Machine, _: Any) -> None:
    value = machine.pop()
    key = machine.pop()
    _dictionary(machine).update(_pairs([key, value]))


def _setitems(machine: Machine, _: Any) -> None:
    items = machine.marked()
    _dictionary(machine).update(_pairs(items))


def _list(machine: Machine) -> list[Any]:
    target = machine.stack[-1]
    if type(target) is not list:
        raise machine.refuse(f"an append to {described(target)}")
    return target


def _dictionary(machine: Machine) -> dict[Any, Any]:
    target = machine.stack[-1]
    if type(target) is not dict:
        raise machine.refuse(f"an assignment to {described(target)}")
    return target


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """A dictionary of text or number keys: nothing of the file's is ever hashed or compared by code of its own."""
    if len(items) % 2 or not all(isinstance(key, str | bytes | int | float) for key in items[::2]):
        raise ValueError("a dictionary with keys that are neither text nor numbers")
    return dict(zip(items[::2], items[1::2], strict=True))


def _get(machine: Machine, key: Any) -> None:
    machine.stack.append(machine.memo[int(key)])


def _put(machine: Machine, key: Any) -> None:
    machine.memo[int(key)] = machine.stack[-1]


def _memoize(machine: Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _pop(machine: Machine, _: Any) -> None:
    machine.stack.pop()


def _pop_mark(machine: Machine, _: Any) -> None:
    machine.marked()


def _dup(machine: Machine, _: Any) -> None:
    machine.stack.append(machine.stack[-1])


HANDLERS: dict[str, Callable[[Machine, Any], None]] = {
    "GLOBAL": _global, "STACK_GLOBAL": _stack_global, "REDUCE": _reduce, "NEWOBJ": _newobj, "NEWOBJ_EX": _newobj_ex,
    "OBJ": _object, "INST": _inst, "BUILD": _build, "TUPLE": _marked_tuple, "TUPLE1": _tuple(1), "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3), "LIST": _marked_list, "DICT": _marked_dict, "APPEND": _append, "APPENDS": _appends,
    "SETITEM": _setitem, "SETITEMS": _setitems, "GET": _get, "BINGET": _get, "LONG_BINGET": _get, "PUT": _put, "BINPUT": _put,
    "LONG_BINPUT": _put, "MEMOIZE": _memoize, "POP": _pop, "POPMARK": _pop_mark, "DUP": _dup,
}  # fmt: skip
