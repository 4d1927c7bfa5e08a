# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ONNX file is made of, read from its protobuf without running or loading anything (onnx.proto3, IR 3 to 10)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import FormatError

MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA, MODEL_FUNCTIONS = 7, 8, 14, 25
GRAPH_NODE, GRAPH_TENSOR = 1, 5
NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 5, 6, 11
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14
MAX_DEPTH = 8


@dataclass
class Outline:
    """operators: names of all, with their domain where it is not ONNX's own. opsets: domain -> version. external: whether any
    tensor lies in another file."""

    operators: set[str] = field(default_factory=set)
    opsets: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    external: bool = False


def outline(data: bytes) -> Outline:
    """Raises FormatError where the bytes are no protobuf, or nothing in them is a graph."""
    found = Outline()
    view = memoryview(data)
    graphs = 0
    try:
        for number, value in _fields(view):
            if number == MODEL_GRAPH:
                graphs += 1
                _graph(_bytes(value), found, 0)
            elif number == MODEL_FUNCTIONS:
                found.operators.add("(function)")
            elif number == MODEL_OPSET:
                entry = dict(_fields(_bytes(value)))
                version = entry.get(2, 0)
                found.opsets[_text(entry.get(1))] = version if isinstance(version, int) else 0
            elif number == MODEL_METADATA:
                entry = dict(_fields(_bytes(value)))
                found.metadata[_text(entry.get(1))] = _text(entry.get(2))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise FormatError(f"These {len(data):,} bytes are not an ONNX network ({error}).") from error
    if graphs != 1:
        raise FormatError(f"These {len(data):,} bytes are not an ONNX network: they hold {graphs} graphs, expected 1.")
    return found


def _graph(view: memoryview, found: Outline, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("graphs within graphs without end")
    for number, value in _fields(view):
        if number == GRAPH_TENSOR:
            _tensor(_bytes(value), found)
        elif number == GRAPH_NODE:
            name, domain = "", ""
            for part, content in _fields(_bytes(value)):
                if part == NODE_OPERATOR:
                    name = _text(content)
                elif part == NODE_DOMAIN:
                    domain = _text(content)
                elif part == NODE_ATTRIBUTE:
                    _attribute(_bytes(content), found, depth)
            found.operators.add(f"{domain}.{name}" if domain not in ("", "ai.onnx") else name)


def _attribute(view: memoryview, found: Outline, depth: int) -> None:
    for number, value in _fields(view):
        if number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
            _graph(_bytes(value), found, depth + 1)
        elif number == ATTRIBUTE_TENSOR:
            _tensor(_bytes(value), found)


def _tensor(view: memoryview, found: Outline) -> None:
    for number, value in _fields(view):
        found.external |= number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value != 0)


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of a message: integers of wire type 0, bytes of type 2; fixed-width ones are passed over."""
    at = 0
    while at < len(view):
        tag, at = _varint(view, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(view, at)
            yield tag >> 3, value
        elif kind == 2:
            length, at = _varint(view, at)
            if at + length > len(view):
                raise ValueError("it is cut short")
            yield tag >> 3, view[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return value


def _text(value: int | memoryview | None) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""
