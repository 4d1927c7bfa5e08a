# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from loquent.core.errors import FormatError
from loquent.core.head.expressions import SHIPPED, read_expression, write_expression
from loquent.core.head.motion import CHANNELS


def test_what_ships_names_channels_within_their_range():
    for name, values in SHIPPED.items():
        assert values and all(c in CHANNELS and 0 < v <= 1 for c, v in values.items()), name


@pytest.mark.parametrize("name", SHIPPED)
def test_an_expression_comes_back_from_its_file(tmp_path, name):
    path = tmp_path / "Ausdruck 声.json"
    write_expression(SHIPPED[name], path)
    assert read_expression(path) == pytest.approx(SHIPPED[name])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[1]", "not an expression"),
        ('{"format": "loquent expression", "channels": {"jawOpen": "wide"}}', "expected a number"),
        ('{"format": "loquent expression", "channels": {"jawOpen": 1e999}}', "expected a number"),
    ],
)
def test_other_files_are_refused(tmp_path, text, says):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=says):
        read_expression(path)


def test_a_file_of_a_later_version_loses_only_what_is_unknown(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"format": "loquent expression", "version": 9, "channels": {"jawOpen": 0.5, "earWiggle": 1}}')
    assert read_expression(path) == {"jawOpen": 0.5}
