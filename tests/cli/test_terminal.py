"""What a person sees in a terminal: sentences wrapped at words, commands whole, colours as rich has them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.cli.terminal import has_colour, styled, wrapped

COMMANDS = [
    "kiro-auth login --start-url https://d-1234567890.awsapps.com/start --region eu-west-1",
    "kiro-auth accounts verify 'The account of the department'",
    "kiro-auth accounts enable work",
    "npm install -g @anthropic-ai/claude-code",
    "chmod 600 /home/ann/.config/opencode/kiro-accounts.json",
]
words = st.text("abcdefgh", min_size=1, max_size=12)
sentences = st.lists(words, min_size=1, max_size=30).map(" ".join)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(sentences, st.integers(20, 100))
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(text: str, columns: int) -> None:
    lines = wrapped(text, columns).split("\n")

    assert all(len(line) <= columns for line in lines)
    assert " ".join(lines) == text


@given(sentences, st.sampled_from(COMMANDS), st.sampled_from(["", ".", "; then more"]), st.integers(20, 100))
def test_a_command_is_never_torn(text: str, command: str, end: str, columns: int) -> None:
    assert command in wrapped(f"{text}. Do this: {command}{end}", columns)


def test_words_behind_a_command_are_no_part_of_it() -> None:
    text = "Sign in: kiro-auth login. Or share the sign-in of kiro-cli: kiro-auth accounts import"

    assert wrapped(text, 40).split("\n") == [
        "Sign in: kiro-auth login. Or share the",
        "sign-in of kiro-cli:",
        "kiro-auth accounts import",
    ]


def test_lines_of_a_list_go_on_below_their_words() -> None:
    assert wrapped("No account:\n- Ada is out of credits today\n  and more", 20).split("\n") == [
        "No account:",
        "- Ada is out of",
        "  credits today",
        "  and more",
    ]


def test_wide_characters_count_as_two() -> None:
    assert wrapped("日本語 日本語 日本語 日本語", 21).split("\n") == ["日本語 日本語 日本語", "日本語"]


@pytest.mark.parametrize(
    ("environment", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, False),
    ],
)
def test_colours_are_shown_where_rich_shows_them(
    environment: dict[str, str], terminal: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()

    assert has_colour(stream) is coloured
    console = Console(file=stream)
    assert (console.color_system is not None and not console.no_color) is coloured
    assert styled("x", "red", stream) == ("\x1b[31mx\x1b[0m" if coloured else "x")
