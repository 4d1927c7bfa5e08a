# SPDX-License-Identifier: GPL-3.0-or-later
"""Consent is asked for in one message, kept in the file, and read back by people."""

import subprocess
import sys
from dataclasses import replace

import pytest

from loquent.core.adapt.consent import INVENTED, Consent, credit, told
from loquent.core.errors import FormatError
from loquent.core.splats.avatar import find_avatar, load_avatar, save_avatar

AGREED = Consent("Anna Ek", "Anna agreed by mail to a talking head for our film.", "2026-11-01")


def test_one_message_names_all_that_is_missing():
    with pytest.raises(FormatError) as caught:
        Consent("  ", "n/a").check()
    assert "the name of the person and a statement of their consent" in str(caught.value)
    with pytest.raises(FormatError, match="needs a statement"):
        Consent("Anna Ek", "").check()
    with pytest.raises(FormatError, match="needs the name of the person"):
        Consent("", "Anna agreed").check()
    AGREED.check()


@pytest.mark.parametrize("date", ["yesterday", "01.11.2026", "2026-13-01", "20261101"])
def test_a_date_is_a_date(date):
    with pytest.raises(FormatError, match=r"expected one like 2026-11-21"):
        replace(AGREED, date=date).check()


def test_nobody_consents_for_an_invented_person():
    about = Consent("Robot 7", "", synthetic=True).about("photo")
    assert about["consent"] == INVENTED and about["synthetic"] is True
    with pytest.raises(FormatError, match="name of whom it shows, an invented one too"):
        Consent("", "", synthetic=True).about()


def test_a_statement_that_is_a_document_is_refused():
    with pytest.raises(FormatError, match="3,000 characters; expected 2,000"):
        Consent("Anna Ek", "a" * 3000).about()


def test_the_file_keeps_what_was_stated(tmp_path):
    avatar = load_avatar(find_avatar("ada"))
    path = tmp_path / "anna.loq"
    save_avatar(replace(avatar, name="Anna", about=AGREED.about("video")), path)
    about = load_avatar(path).about
    assert about["subject"] == "Anna Ek" and about["date"] == "2026-11-01" and about["source"] == "video"
    assert about["made_with"].startswith("Loquent ") and about["synthetic"] is False
    assert ("Consent", AGREED.statement) in told(about)
    assert "Invented" not in dict(told(about)), "a real person is not called invented"


def test_a_credit_is_one_line_whatever_was_typed():
    about = Consent("Anna\nEk\0", "agreed\r\nby mail", "2026-11-01").about()
    line = credit("Anna", about)
    assert line == "Anna (Person: Anna Ek; Consent: agreed by mail; Date: 2026-11-01)"
    assert credit("Old", {}) == "Old (nothing is stated about person and consent)"
    assert credit("ada", {"licence": "CC0-1.0", "consent": "Not a real person."}).isprintable()


def test_consent_needs_no_learning_environment():
    code = "import sys, loquent.core.adapt.consent; print('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
