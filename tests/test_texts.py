"""Words of others: what steers a terminal is taken out, and no secret that is known stands in them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth import texts
from kiro_auth.failures import Failure
from kiro_auth.gateway.log_lines import in_words, plain, recognisable
from kiro_auth.kiro import checked
from kiro_auth.texts import clean, escaped, in_one_line, learn, shown, without_secrets
from support.counting import calls

STEERING = [
    *map(chr, (*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0))),
    *map(chr, (0x61C, 0x200B, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xE0041)),
]
nasty = st.lists(st.one_of(st.sampled_from([*STEERING, "\n", "\t"]), st.text(max_size=5))).map("".join)
SECRET = "aoaAAAAAGtoken0123456789"


@pytest.fixture(autouse=True)
def nothing_learned_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(texts, "_secrets", {})
    monkeypatch.setattr(texts, "_order", {})
    return


def steers(text: str) -> bool:
    return any(
        letter in STEERING or unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") for letter in text
    )


@given(nasty)
def test_nothing_steers_a_terminal_and_all_else_stays(text: str) -> None:
    assert not steers(clean(text).replace("\n", ""))
    assert not steers(in_one_line(text))
    assert "\n" not in in_one_line(text)
    assert clean(clean(text)) == clean(text)
    if not steers(text):
        assert clean(text) == text


@given(nasty)
def test_json_means_the_same_and_shows_no_such_character(text: str) -> None:
    written = escaped(json.dumps({"name": text}, ensure_ascii=False))

    assert json.loads(written) == {"name": text}
    assert not steers(written)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_secret_is_found_wherever_it_stands(before: str, after: str) -> None:
    learn(SECRET, "short", None)

    assert SECRET not in without_secrets(f"{before}{SECRET}{after}{SECRET}")
    assert without_secrets("short words stay") == "short words stay"


LONG = SECRET + "".join(f"{number:x}" for number in range(2000))


@given(st.integers(1, 8), st.integers(0, 2 * texts.LONGEST), st.sampled_from(["", " ", "."]))
def test_a_secret_that_was_cut_is_none_to_be_shown_either(times: int, cut: int, between: str) -> None:
    learn(LONG)
    said = between.join([LONG] * times)

    for text in (shown(said[:cut]), shown(said), shown(checked.text(said[:cut]) or "")):
        assert LONG[: texts._LEAST_CUT] not in text


def test_words_that_begin_like_a_secret_stay() -> None:
    learn("access-token-0123456789abcdef")

    assert without_secrets("an access-token-that-is-old") == "an access-token-that-is-old"


def test_of_two_secrets_that_begin_alike_the_longer_one_is_taken_out() -> None:
    learn(SECRET, SECRET + "more")

    assert without_secrets(f"a {SECRET}more b {SECRET} c") == "a … b … c"


ALIKE = st.lists(st.text("ab", max_size=14).map(SECRET[: texts._LEAST].__add__), min_size=1, max_size=20)


@given(ALIKE, st.text("ab", max_size=20))
def test_of_many_secrets_that_begin_alike_the_one_is_found_that_has_most_in_common(
    secrets: list[str], rest: str
) -> None:
    texts._secrets.clear()
    texts._order.clear()
    learn(*secrets)
    text = SECRET[: texts._LEAST] + rest
    common = [
        (next(n for n in range(len(secret), -1, -1) if text.startswith(secret[:n])), len(secret))
        for secret in secrets
    ]
    size = max((size for size, whole in common if size == whole or size >= texts._LEAST_CUT), default=0)

    assert without_secrets(text) == (f"…{text[size:]}" if size else text)


def test_a_text_costs_no_more_where_thousands_of_secrets_begin_alike() -> None:
    """The tokens of one company do: their first hundred characters say how they are signed."""
    text = f"The token {LONG}1 is not accepted."
    learn(LONG + "2")
    of_one = calls(lambda: without_secrets(text))
    learn(*(f"{LONG}{number}" for number in range(10, 3000)))

    assert calls(lambda: without_secrets(text)) < of_one + 10


@pytest.mark.parametrize("secret", ["correct-horse-battery\\", 'correct"horse"battery', "correct\\u00horse"])
def test_a_secret_is_found_in_json_and_what_is_left_is_json(secret: str) -> None:
    learn(secret)

    assert json.loads(without_secrets(json.dumps({"model": secret, "more": 1}))) == {"model": "…", "more": 1}


def test_only_so_many_secrets_are_remembered_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_MOST", 3)
    learn(*(f"{number}-{SECRET}" for number in range(5)))

    assert without_secrets(f"1-{SECRET} 4-{SECRET}") == f"1-{SECRET} …"
    assert len(texts._order) == 3


def test_of_secrets_that_are_not_remembered_any_more_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_MOST", 3)
    learn(*(f"{number}-{SECRET}" for number in range(50)))

    assert len(texts._secrets) == 3


def test_a_failure_is_fit_to_be_shown_whoever_wrote_its_texts() -> None:
    learn(SECRET)
    failure = Failure(
        code="KA-SERVICE",
        message=f"No\x1b[2J\u202e {SECRET}." + "x" * 10_000,
        next_step=f"Ask\x9b {SECRET}.",
        reason=SECRET,
        account="a\x07b",
    )
    again = replace(failure, message=f"{SECRET}\nand more")

    assert failure.message.startswith("No[2J ….x")
    assert len(failure.message) == texts.LONGEST
    assert (failure.next_step, failure.reason, failure.account) == ("Ask ….", "…", "ab")
    assert again.message == "…\nand more"
    for text in (failure.sentence(), failure.spoken(0.0), str(again)):
        assert SECRET not in text
        assert not steers(text.replace("\n", ""))


def test_a_line_of_the_log_is_one_line_without_secrets() -> None:
    learn(SECRET)

    assert plain(f"a\r\nb\x1b[1m {SECRET} ada@example.com") == "a b[1m … a***@example.com"
    assert in_words({"message": "a\x1b]0;x\x07\nb"}, dated=False) == "a]0;x b"


def test_of_a_secret_that_looks_like_an_e_mail_in_parts_nothing_stays_in_a_line_of_the_log() -> None:
    learn("an-own@password.of-a-database")

    assert plain("with an-own@password.of-a-database") == "with …"
    assert recognisable("with an-own@password.of-a-database") == "with …"
    assert recognisable("of ada@example.com") == "of a***@example.com"


def test_a_failure_of_a_secret_alone_is_a_sign_of_it() -> None:
    learn(SECRET)

    assert shown(SECRET) == "…"
