# SPDX-License-Identifier: GPL-3.0-or-later
"""FLAME's pickles are read without being run. `pickle` itself is only used here to write what is read, and for attacks."""

import builtins
import codecs
import collections
import os
import pickle  # noqa: TID251  (writes the files; nothing here loads one)
import pickletools
import struct
import subprocess
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquent.core.errors import FormatError
from loquent.core.head import flame_pickle as module
from loquent.core.head.flame_pickle import read_arrays

ARRAYS = {
    "v_template": np.random.default_rng(0).normal(size=(7, 3)),
    "f": np.arange(9, dtype=np.uint32).reshape(3, 3),
    "shapedirs": np.asfortranarray(np.random.default_rng(1).normal(size=(7, 3, 4))),
    "kintree_table": np.array([[4294967295, 0], [0, 1]], np.uint32),
    "big": np.arange(4, dtype=">f4"),
    "flags": np.array([True, False]),
    "one": np.float64(2.5),
    "half": np.arange(3, dtype=np.float16),
}


@pytest.fixture
def chumpy(monkeypatch):
    """A module called chumpy, which FLAME 2020 was written with and nobody has any more."""
    package, ch, reordering = (
        types.ModuleType("chumpy"),
        types.ModuleType("chumpy.ch"),
        types.ModuleType("chumpy.reordering"),
    )
    ch.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    reordering.Select = type("Select", (), {"__module__": "chumpy.reordering"})
    for name, made in (("chumpy", package), ("chumpy.ch", ch), ("chumpy.reordering", reordering)):
        monkeypatch.setitem(sys.modules, name, made)
    return types.SimpleNamespace(Ch=ch.Ch, Select=reordering.Select)


def saved(tmp_path, value, protocol=2):
    path = tmp_path / "model.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_of_every_protocol_come_out_as_they_went_in(tmp_path, protocol):
    found = read_arrays(saved(tmp_path, {**ARRAYS, "bs_style": "lbs", "nothing": None, "list": [1, 2]}, protocol))
    assert sorted(found) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array), name
        assert found[name].dtype == np.asarray(array).dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_sparse_matrices_are_filled(tmp_path, protocol):
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.random.default_rng(2).normal(size=(5, 9)) * (np.random.default_rng(3).random((5, 9)) > 0.7)
    for kind in (sparse.csc_matrix, sparse.csr_matrix):
        found = read_arrays(saved(tmp_path, {"J_regressor": kind(dense)}, protocol))
        assert np.array_equal(found["J_regressor"], dense)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_arrays_are_opened_without_chumpy(tmp_path, chumpy, monkeypatch, protocol):
    plain, picked = chumpy.Ch(), chumpy.Select()
    plain.__dict__.update(x=ARRAYS["v_template"], _status="new", dterms=["x"])
    picked.__dict__.update(a=plain, idxs=np.array([0, 2, 1]), preferred_shape=(3, 1))
    path = saved(tmp_path, {"v_template": plain, "some": picked}, protocol)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.delitem(sys.modules, name)
    found = read_arrays(path)
    assert np.array_equal(found["v_template"], ARRAYS["v_template"])
    assert np.array_equal(found["some"][:, 0], ARRAYS["v_template"].ravel()[[0, 2, 1]])
    assert "chumpy" not in sys.modules


def test_a_pickle_of_python_2_is_read(tmp_path):
    raw = np.array([1.5, -2.25, 255.0])
    ndarray = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(I3\ntcnumpy\ndtype\n(U\x02f8I0\nI1\ntR"
        b"(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nT" + struct.pack("<i", raw.nbytes) + raw.tobytes() + b"tb"
    )
    found = read_arrays(saved(tmp_path, b"\x80\x02}U\x0av_template" + ndarray + b"s."))
    assert np.array_equal(found["v_template"], raw)


class Runs:
    """Unpickled, it would call `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


MARKER = "loquent-was-here"
TOUCH = f"open({MARKER!r}, 'w').close()"
ATTACKS = {
    "os.system": lambda: Runs(os.system, f"touch {MARKER}"),
    "eval": lambda: Runs(eval, TOUCH),
    "exec": lambda: Runs(exec, TOUCH),
    "compile": lambda: Runs(compile, TOUCH, "x", "exec"),
    "open": lambda: Runs(open, MARKER, "w"),
    "import": lambda: Runs(builtins.__import__, "antigravity"),
    "getattr of an array": lambda: Runs(getattr, np.zeros(3), "tofile"),
    "getattr of a string": lambda: Runs(getattr, "", "__class__"),
    "a chain": lambda: Runs(Runs, Runs(os.system, f"touch {MARKER}")),
    "a chain in an argument of something known": lambda: Runs(codecs.encode, Runs(eval, TOUCH), "latin1"),
    "subprocess": lambda: Runs(subprocess.Popen, ["touch", MARKER]),
    "numpy.load": lambda: Runs(np.load, "/etc/passwd", None, True),
    "numpy.memmap": lambda: Runs(np.memmap, MARKER, "uint8", "w+", 0, (4,)),
    "numpy.fromfile": lambda: Runs(np.fromfile, "/etc/passwd"),
    "codecs.open": lambda: Runs(codecs.open, MARKER, "w"),
    "collections": lambda: Runs(collections.OrderedDict),
    "bytearray": lambda: Runs(bytearray, 1 << 40),
    "range to a list": lambda: Runs(list, range(1 << 40)),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("attack", list(ATTACKS))
def test_what_would_run_code_is_refused_and_does_not_run(tmp_path, monkeypatch, attack, protocol):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {**ARRAYS, "v_template": ATTACKS[attack]()}, protocol)
    with pytest.raises(FormatError, match=r"wants to run .*do not trust this file"):
        read_arrays(path)
    assert not (tmp_path / MARKER).exists()


RAW = {
    "os.system by GLOBAL": b"cposix\nsystem\n(S'touch " + MARKER.encode() + b"'\ntR.",
    "os.system by INST": b"(S'touch " + MARKER.encode() + b"'\niposix\nsystem\n.",
    "os.system by OBJ": b"(cposix\nsystem\nS'touch " + MARKER.encode() + b"'\no.",
    "a dotted name below something known": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "a dotted module": b"\x80\x04\x8c\x0anumpy.core\x8c\x10multiarray.loads\x93.",
    "a name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "a known name called with hostile arguments": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
    "reconstruct of a huge array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I999999999999\ntS'b'\ntR.",
    "copyreg of a class that is not known": b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\nc__builtin__\nobject\nNtR.",
    "copyreg with a state": b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nS'x'\ntR.",
    "ndarray itself": b"cnumpy\nndarray\n(I3\ntR.",
    "object itself": b"c__builtin__\nobject\n(tR.",
    "chumpy from arguments": b"cchumpy.ch\nCh\n(S'x'\ntR.",
    "a shell called": b"cchumpy.ch\nCh\n(tR(tR.",
    "a string called": b"S'x'\n(tR.",
    "a codec that is none of text": b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
    "BUILD on a name": b"cnumpy\nndarray\n}b.",
    "BUILD on a dictionary": b"}}b.",
    "append to an array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRI1\na.",
    "an assignment to a shell": b"cchumpy.ch\nCh\n(tRS'x'\nI1\ns.",
    "a persistent id": b"P1\n.",
    "a binary persistent id": b"S'x'\nQ.",
    "an extension": b"\x80\x02\x82\x01.",
    "a buffer from outside": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("attack", list(RAW))
def test_hand_written_attacks_are_refused(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match="wants to run"):
        read_arrays(saved(tmp_path, RAW[attack]))
    assert not (tmp_path / MARKER).exists()


def array_opcodes(shape: bytes, kind: bytes = b"f8", raw: bytes = bytes(8), order: bytes = b"<") -> bytes:
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n" + shape + b"cnumpy\ndtype\n(S'" + kind
        + b"'\nI0\nI1\ntR(I3\nS'" + order + b"'\nNNNI-1\nI-1\nI0\ntbI00\nB" + struct.pack("<I", len(raw)) + raw + b"tb"
    )  # fmt: skip


BROKEN = {
    "nothing": b"",
    "no STOP": b"}",
    "text": b"this is no pickle",
    "a lone mark": b"(.",
    "an empty stack": b".",
    "a shape that lies": array_opcodes(b"(I999999999999\nt"),
    "a negative shape": array_opcodes(b"(I-1\nt"),
    "too many dimensions": array_opcodes(b"(" + b"I1\n" * 40 + b"t"),
    "a shape that is no shape": array_opcodes(b"S'x'\n"),
    "objects": array_opcodes(b"(I1\nt", b"O8"),
    "records": array_opcodes(b"(I1\nt", b"V8"),
    "a strange order": array_opcodes(b"(I1\nt", order=b"x"),
    "a memo that was not written": b"h\x09.",
    "a list as a key": b"}]I1\ns.",
    "a number cut short": b"J\x01\x02",
    "text cut short": b"X\xff\xff\xff\x7fabc.",
    "a sequence of digits": b"L" + b"9" * 10000 + b"L\n.",
    "a list": b"].",
    "an array alone": array_opcodes(b"(I1\nt") + b".",
    "a sparse matrix without parts": b"}S'J'\ncscipy.sparse.csc\ncsc_matrix\n(tR}bs.",
    "a sparse matrix of astronomical size": b"}S'J'\ncscipy.sparse.csc\ncsc_matrix\n(tR}(S'_shape'\n(I99999999\nI99999999\ntS'data'\n"
    + array_opcodes(b"(I1\nt") + b"S'indices'\n" + array_opcodes(b"(I1\nt", b"i8") + b"S'indptr'\n"
    + array_opcodes(b"(I1\nt", b"i8") + b"ubs.",
}  # fmt: skip


@pytest.mark.parametrize("what", list(BROKEN))
def test_damaged_files_say_so(tmp_path, what):
    with pytest.raises(FormatError):
        read_arrays(saved(tmp_path, BROKEN[what]))


def test_a_shell_within_itself_ends(tmp_path):
    data = b"}S'x'\ncchumpy.ch\nCh\n(tRp0\n}S'x'\ng0\nsbs."
    assert read_arrays(saved(tmp_path, data)) == {}


def test_sparse_entries_beyond_the_shape_are_refused(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    for part, value in (("indices", np.array([9])), ("indptr", np.array([0, 5, 1])), ("indptr", np.array([0, 1])),
                        ("_shape", (1 << 39, 1 << 39))):  # fmt: skip
        matrix = sparse.csc_matrix(np.array([[1.0, 0], [0, 0]]))
        matrix.__dict__[part] = value
        with pytest.raises(FormatError):
            read_arrays(saved(tmp_path, {"J": matrix}))


def test_memory_is_bounded_where_one_text_is_asked_for_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_MADE", 1 << 20)
    text = b"X" + struct.pack("<I", 1 << 16) + b"a" * (1 << 16)
    data = text + b"p0\n0" + b"c_codecs\nencode\n(g0\nX\x06\x00\x00\x00latin1tR0" * 100 + b"}."
    with pytest.raises(FormatError, match="would unfold to more than"):
        read_arrays(saved(tmp_path, data))


def test_steps_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 1000)
    with pytest.raises(FormatError, match="steps"):
        read_arrays(saved(tmp_path, b"N0" * 2000 + b"}."))


def test_a_file_of_another_size_or_place_is_told(tmp_path, monkeypatch):
    with pytest.raises(FormatError, match="no file"):
        read_arrays(tmp_path / "none.pkl")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(FormatError, match="at most 10"):
        read_arrays(saved(tmp_path, ARRAYS))


def test_reading_imports_no_pickle_scipy_or_chumpy():
    code = (
        "import sys; before = set(sys.modules); from loquent.core.head import flame_pickle; "
        "print([n for n in ('scipy', 'chumpy') if n in sys.modules]); "
        "import inspect; assert 'import pickle\\n' not in inspect.getsource(flame_pickle)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"


WHOLE = pickle.dumps(ARRAYS, 2)
PLACES = [at for _, _, at in pickletools.genops(WHOLE)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, 3))
def test_a_file_with_wrong_bytes_gives_arrays_or_a_format_error(tmp_path_factory, place, byte, at_opcodes):
    place = PLACES[place % len(PLACES)] if at_opcodes else place
    path = tmp_path_factory.mktemp("fuzz") / "model.pkl"
    path.write_bytes(WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :])
    try:
        found = read_arrays(path)
    except FormatError:
        return
    assert all(isinstance(array, np.ndarray) and array.dtype.kind in "fiub" for array in found.values())
