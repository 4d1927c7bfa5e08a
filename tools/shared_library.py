# SPDX-License-Identifier: GPL-3.0-or-later
"""What a shared library of any system says of itself: for which machine it is, what it exports, what it needs.

Reads the 64-bit little-endian files that Loquent makes, as the System V ABI (ELF), Microsoft's PE format and Apple's
mach-o/loader.h lay them out. Standard library only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

ELF_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}
PE_MACHINES = {0x8664: "x86_64", 0xAA64: "aarch64"}
MACHO_MACHINES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}


@dataclass(frozen=True)
class SharedLibrary:
    system: str
    """As sys.platform says it: linux, win32, darwin."""
    machine: str
    """x86_64 or aarch64."""
    exports: frozenset[str]
    """Functions and data that a program can look up, without the underscore that macOS puts before C names."""
    needs: frozenset[str]
    """Libraries that the system loads with it."""
    signed: bool = False
    """Whether it has a code signature (macOS only), even one by nobody in particular."""


def read_shared_library(data: bytes) -> SharedLibrary:
    """ValueError where the bytes are no shared library of a known system."""
    if data[:4] == b"\x7fELF":
        return _elf(data)
    if data[:2] == b"MZ":
        return _pe(data)
    if data[:4] == b"\xcf\xfa\xed\xfe":
        return _macho(data)
    raise ValueError(f"expected ELF, PE or 64-bit Mach-O, found a file that starts with {data[:4]!r}")


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def _elf(data: bytes) -> SharedLibrary:
    (machine,) = unpack_from("<H", data, 18)
    (table,) = unpack_from("<Q", data, 40)
    size, count = unpack_from("<HH", data, 58)
    sections = [unpack_from("<IIQQQQIIQQ", data, table + k * size) for k in range(count)]
    exports, needs = set(), set()
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        strings = sections[link][4] if link < count else 0
        if kind == 11:  # SHT_DYNSYM
            for at in range(offset, offset + length, 24):
                name, info, _, section = unpack_from("<IBBH", data, at)
                if section and info >> 4 in (1, 2):  # defined here, global or weak
                    exports.add(_text(data, strings + name))
        elif kind == 6:  # SHT_DYNAMIC
            for at in range(offset, offset + length, 16):
                tag, value = unpack_from("<QQ", data, at)
                if tag == 1:  # DT_NEEDED
                    needs.add(_text(data, strings + value))
    return SharedLibrary("linux", ELF_MACHINES[machine], frozenset(exports), frozenset(needs))


def _pe(data: bytes) -> SharedLibrary:
    (header,) = unpack_from("<I", data, 60)
    if data[header : header + 4] != b"PE\0\0":
        raise ValueError("expected a PE file, found a DOS program")
    machine, count, _, _, _, optional = unpack_from("<HHIIIH", data, header + 4)
    first = header + 24
    sections = [unpack_from("<8sIIII", data, first + optional + 40 * k) for k in range(count)]

    def place(address: int) -> int:
        for _, memory, start, size, offset in sections:
            if start <= address < start + max(memory, size):
                return offset + address - start
        raise ValueError(f"no section holds address {address:#x}")

    export_table, _, import_table = unpack_from("<III", data, first + 112)
    exports, needs = set(), set()
    if export_table:
        number, _, names = unpack_from("<III", data, place(export_table) + 24)
        exports = {_text(data, place(a)) for a in unpack_from(f"<{number}I", data, place(names))}
    if import_table:
        at = place(import_table)
        while name := unpack_from("<I", data, at + 12)[0]:
            needs.add(_text(data, place(name)))
            at += 20
    return SharedLibrary("win32", PE_MACHINES[machine], frozenset(exports), frozenset(needs))


def _macho(data: bytes) -> SharedLibrary:
    (machine,), (count,) = unpack_from("<I", data, 4), unpack_from("<I", data, 16)
    exports, needs, signed, at = set(), set(), False, 32
    for _ in range(count):
        command, size = unpack_from("<II", data, at)
        if command in (0xC, 0x80000018, 0x8000001F):  # LC_LOAD_DYLIB, weak, re-exported
            needs.add(_text(data, at + unpack_from("<I", data, at + 8)[0]))
        elif command in (0x22, 0x80000022):  # LC_DYLD_INFO
            exports |= set(_trie(data, *unpack_from("<II", data, at + 40)))
        elif command == 0x80000033:  # LC_DYLD_EXPORTS_TRIE
            exports |= set(_trie(data, *unpack_from("<II", data, at + 8)))
        signed |= command == 0x1D  # LC_CODE_SIGNATURE
        at += size
    names = frozenset(name.removeprefix("_") for name in exports)
    return SharedLibrary("darwin", MACHO_MACHINES[machine], names, frozenset(needs), signed)


def _trie(data: bytes, start: int, size: int) -> Iterator[str]:
    """Names in the tree by which dlsym looks them up."""
    open_nodes = [(start, "")] if size else []
    while open_nodes:
        at, prefix = open_nodes.pop()
        length, at = _uleb(data, at)
        if length:
            yield prefix
        at += length
        children, at = data[at], at + 1
        for _ in range(children):
            edge = _text(data, at)
            offset, at = _uleb(data, at + len(edge) + 1)
            open_nodes.append((start + offset, prefix + edge))


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at
