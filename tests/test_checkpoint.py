# SPDX-License-Identifier: GPL-3.0-or-later
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from loquent.core import checkpoint
from loquent.core.errors import FormatError
from loquent.core.files import written_whole


def write(path, version=1, format="Loquent thing"):
    checkpoint.write(path, {"a": np.arange(6.0).reshape(2, 3)}, {"format": format, "version": version, "who": "Zoë"})
    return path


def read(path):
    return checkpoint.read(path, format="Loquent thing", version=1)


def test_arrays_and_header_come_back(tmp_path):
    arrays, header = read(write(tmp_path / "ünï côde.loq"))
    assert np.array_equal(arrays["a"], np.arange(6.0).reshape(2, 3))
    assert header == {"format": "Loquent thing", "version": 1, "who": "Zoë"}


def test_a_newer_file_asks_for_an_update(tmp_path):
    with pytest.raises(FormatError, match=r"version 2; this Loquent reads up to 1\. Update Loquent"):
        read(write(tmp_path / "new.loq", version=2))


def test_another_format_is_named(tmp_path):
    with pytest.raises(FormatError, match="expected a Loquent thing file, found Loquent song"):
        read(write(tmp_path / "song.loq", format="Loquent song"))


def test_a_foreign_safetensors_file_is_recognised(tmp_path):
    save_file({"x": np.zeros(2)}, str(tmp_path / "x.loq"))
    with pytest.raises(FormatError, match="that Loquent did not write"):
        read(tmp_path / "x.loq")


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "x.loq").touch()
    with pytest.raises(FormatError, match=r"is empty \(0 bytes\); expected a Loquent thing file"):
        read(tmp_path / "x.loq")


@pytest.mark.parametrize("keep", [4, 8, 40, -5])
def test_a_truncated_file_is_called_damaged(tmp_path, keep):
    path = write(tmp_path / "cut.loq")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="damaged, cut short, or something else"):
        read(path)


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 8 << 40]}}).encode()
    (tmp_path / "lie.loq").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    with pytest.raises(FormatError, match="cannot be read as a Loquent thing"):
        read(tmp_path / "lie.loq")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(FormatError, match="found nothing there"):
        read(tmp_path / "none.loq")
    with pytest.raises(FormatError, match="found a folder there"):
        read(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_a_folder_that_is_a_file_gives_one_clear_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="Choose a folder you may write to"):
        write(tmp_path / "file" / "head.loq")
