"""docs/apis.md says of every request field that is read what becomes of it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from kiro_auth.surfaces import anthropic_request, openai_chat_request, openai_responses_request

PAGE = Path(__file__).parents[2] / "docs" / "apis.md"
SECTIONS = {
    "Anthropic Messages": anthropic_request._Request,
    "OpenAI Chat Completions": openai_chat_request._Request,
    "OpenAI Responses": openai_responses_request._Request,
}


def section(title: str) -> str:
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("title", SECTIONS)
def test_every_field_of_the_schema_is_on_the_page(title: str) -> None:
    told = {name.partition(".")[0] for name in re.findall(r"`([\w.]+)`", section(title))}

    assert {field.encode_name for field in msgspec.structs.fields(SECTIONS[title])} - told == set()
