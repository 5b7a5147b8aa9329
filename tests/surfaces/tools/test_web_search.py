"""What the model reads of a search, and which pages are the client's."""

from __future__ import annotations

import pytest

from kiro_auth.conversation import SearchEnded, WebPage, WebSearch
from kiro_auth.surfaces.tools.web_search import pages_text, result_text, within


def page(url: str) -> WebPage:
    return WebPage(url, f"Title of {url}", "Words.", "2026-11-01")


def test_a_result_holds_what_is_known_of_each_page() -> None:
    text = pages_text((page("https://a.example/x"), WebPage("https://b.example", "B")))

    assert text == (
        "1. Title of https://a.example/x\nhttps://a.example/x\n2026-11-01\nWords.\n\n2. B\nhttps://b.example"
    )


def test_a_search_that_was_not_made_is_said_to_be_none() -> None:
    assert "make up no results" in result_text(SearchEnded("t", "q", fault="unavailable"))
    assert result_text(SearchEnded("t", "q")) == "No pages were found."


@pytest.mark.parametrize(
    ("domain", "url", "of_it"),
    [
        ("example.com", "https://example.com/a", True),
        ("example.com", "https://docs.example.com/a", True),
        ("example.com", "https://www.example.com", True),
        ("www.Example.com", "https://example.com", True),
        ("https://example.com/", "http://example.com:8080/a", True),
        ("example.com/blog", "https://example.com/blog/one", True),
        ("example.com/blog/*", "https://example.com/blog/one", True),
        ("example.com/blog", "https://example.com/shop", False),
        ("example.com", "https://notexample.com", False),
        ("docs.example.com", "https://example.com", False),
    ],
)
def test_a_domain_holds_those_below_it_and_may_name_a_path(domain: str, url: str, of_it: bool) -> None:
    pages = (page(url),)

    assert within(pages, WebSearch(name="s", allowed_domains=(domain,))) == (pages if of_it else ())
    assert within(pages, WebSearch(name="s", blocked_domains=(domain,))) == (() if of_it else pages)
