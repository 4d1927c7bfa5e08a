# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a head shows and that they agreed: asked before anything is computed, and kept in the file for as long as it lives.

Nothing here can prove a consent. It makes sure that somebody stated one, who reads the file learns what was stated, and
pictures say whom they show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date as calendar
from typing import Any

from ..assets import installed_version
from ..errors import FormatError

INVENTED = "Not a real person."
LONGEST = 2000
"""Characters of a statement; it is copied into every picture."""
NOTHING_SAID = frozenset(("", "-", "?", "x", "no", "none", "n/a", "na", "nil", "todo", "tbd", "unknown", "not stated"))
KEYS = {
    "subject": "Person",
    "consent": "Consent",
    "date": "Date",
    "source": "Made from",
    "synthetic": "Invented",
    "licence": "Licence",
    "provenance": "Provenance",
    "made_with": "Made with",
}
"""What of Avatar.about is shown to people, and how it is called there."""


@dataclass(frozen=True)
class Consent:
    """subject: name of the person; statement: who agreed to what; date: of the agreement, YYYY-MM-DD, today where empty.

    synthetic: nobody real is shown; no statement is needed then.
    """

    subject: str
    statement: str
    date: str = ""
    synthetic: bool = False

    def check(self) -> None:
        """Raises FormatError with all that is missing at once."""
        missing = []
        if _plain(self.subject).lower() in NOTHING_SAID:
            missing.append("the name of the person")
        if not self.synthetic and _plain(self.statement).lower() in NOTHING_SAID:
            missing.append(
                "a statement of their consent, such as 'Anna Ek agreed by mail to a talking head for our film'"
            )
        if missing and self.synthetic:
            raise FormatError(
                "A head needs the name of whom it shows, an invented one too; it is kept in the head's file and shown with it."
            )
        if missing:
            raise FormatError(
                f"A head made from footage shows a real person, so it needs {' and '.join(missing)}, kept in the head's file and "
                "shown with it. Without consent, do not make the head; for an invented person, say that it is one."
            )
        if len(self.statement) > LONGEST:
            raise FormatError(
                f"The statement of consent has {len(self.statement):,} characters; expected {LONGEST:,} at most. Name the "
                "document it stands in."
            )
        if self.date and not _is_date(self.date):
            raise FormatError(f"The date of the consent is '{self.date}'; expected one like 2026-11-21.")

    def about(self, source: str = "") -> dict[str, Any]:
        """For Avatar.about; source: what the head was made from, such as "photo" or "video". Raises as `check` does."""
        self.check()
        told: dict[str, Any] = {
            "subject": _plain(self.subject),
            "consent": _plain(self.statement) or INVENTED,
            "date": self.date or calendar.today().isoformat(),
            "synthetic": bool(self.synthetic),
            "made_with": f"Loquent {installed_version()}",
        }
        return told | ({"source": source} if source else {})


def told(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a head's file says of person, consent and origin, as (label, text) for people to read; absent keys left out."""
    rows = []
    for key, label in KEYS.items():
        value = about.get(key)
        if isinstance(value, bool):
            value = "yes" if value else ""
        if value:
            rows.append((label, _plain(str(value))))
    return rows


def credit(name: str, about: Mapping[str, Any]) -> str:
    """One line for the metadata of pictures that a head is in."""
    said = [f"{label}: {text}" for label, text in told(about) if label in ("Person", "Consent", "Date", "Licence")]
    return f"{name} ({'; '.join(said) if said else 'nothing is stated about person and consent'})"


def _plain(text: str) -> str:
    """On one line, without control characters: it goes into headers of pictures."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _is_date(text: str) -> bool:
    try:
        calendar.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10
