"""What is reported of Kiro's terms."""

from __future__ import annotations

from pathlib import Path

from kiro_auth.login.terms import REPORTED, notice_of_terms
from support.storing import HandStore

README = Path(__file__).parents[2] / "README.md"


def test_it_is_said_to_whoever_has_no_account_yet(tmp_path: Path) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    notice = notice_of_terms(store)
    assert notice is not None
    assert notice.startswith(REPORTED)

    store.add_account({"id": "a", "region": "eu-north-1"})
    assert notice_of_terms(store) is None


def test_readme_says_the_same_words() -> None:
    words = " ".join(README.read_text(encoding="utf-8").replace("\n> ", " ").split())

    assert REPORTED in words
