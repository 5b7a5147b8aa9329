"""The web search that clients ask for as a tool of the server: how it is read, and how the model knows it.

Anthropic calls it `web_search_20250305` and later, OpenAI `web_search` and `web_search_preview`.  The gateway
runs it, so to the model it is an ordinary tool, with an ordinary result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kiro_auth.conversation import SearchEnded, SearchFault, Tool, WebPage, WebSearch
from kiro_auth.surfaces.decoding import refused
from kiro_auth.surfaces.tools.schemas import object_of, text

NAME: Final = "web_search"
"""What the model knows the tool as, and what Anthropic's clients do."""

_TYPE: Final = r"web_search(_preview)?(_\d[\d_]*)?"
_MOST_DOMAINS: Final = 500
"""Domains of one list: each page that is found is compared to all of them."""
_DESCRIPTION: Final = (
    "Searches the web and returns pages with what they say. Use it for what may have changed since you were "
    "trained. Where your answer uses a page, name it as a Markdown link, [title](address), and quote no more "
    "than a few words."
)
_WHY: Final[Mapping[SearchFault, str]] = {
    "invalid_tool_input": "the query cannot be searched for",
    "query_too_long": "the query is too long",
    "max_uses_exceeded": "the client allows no more searches for this answer",
    "too_many_requests": "there were too many searches for the moment",
    "unavailable": "the search is not available for this account at the moment",
}


def is_web_search(kind: str) -> bool:
    """Whether a `tools` entry of this type is the search of one of the APIs."""
    return re.fullmatch(_TYPE, kind) is not None


def web_search(given: Mapping[str, Any], name: str = NAME) -> WebSearch:
    """The search as a `tools` entry asks for it; `allowed_domains` of OpenAI stand under `filters`.

    Raises TurnFailed (KA-REQUEST) for too many domains.
    """
    filters = given.get("filters")
    fields = {**given, **filters} if isinstance(filters, dict) else given
    uses = fields.get("max_uses")
    return WebSearch(
        name=name,
        max_uses=uses if isinstance(uses, int) and uses > 0 else None,
        allowed_domains=_domains(fields, "allowed_domains"),
        blocked_domains=_domains(fields, "blocked_domains"),
    )


def search_tool(given: Mapping[str, Any], search: WebSearch) -> Tool:
    """The tool as the model sees it."""
    about = [_DESCRIPTION]
    if search.allowed_domains:
        about.append(f"It finds pages of {', '.join(search.allowed_domains)} only.")
    if search.blocked_domains:
        about.append(f"It finds no pages of {', '.join(search.blocked_domains)}.")
    if place := _place(given.get("user_location")):
        about.append(f"The user is in {place}; where that matters, say so in the query.")
    schema = object_of({"query": text("What to search for, in a few words.")}, "query")
    return Tool(search.name, " ".join(about), schema, kind=NAME)


def _domains(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = fields.get(name)
    domains = tuple(domain for domain in given if isinstance(domain, str)) if isinstance(given, list) else ()
    if len(domains) > _MOST_DOMAINS:
        raise refused(f"`{name}` of the web search has more than {_MOST_DOMAINS} domains.")
    return domains


def _place(given: Any) -> str:
    if isinstance(given, dict) and isinstance(given.get("approximate"), dict):  # Chat Completions
        given = given["approximate"]
    if not isinstance(given, dict):
        return ""
    parts = (given.get(name) for name in ("city", "region", "country"))
    return ", ".join(part for part in parts if isinstance(part, str) and part)


def result_text(ended: SearchEnded) -> str:
    """What the model reads of a search; the same for the same pages, so that a history is the same again."""
    if ended.fault is not None:
        return f"Nothing was searched: {_WHY[ended.fault]}. Tell the user so, and make up no results."
    return pages_text(ended.pages)


def pages_text(pages: Sequence[WebPage]) -> str:
    """What the model reads of these pages."""
    if not pages:
        return "No pages were found."
    return "\n\n".join(f"{number}. {_page_text(page)}" for number, page in enumerate(pages, 1))


def _page_text(page: WebPage) -> str:
    return "\n".join(part for part in (page.title, page.url, page.age, page.text) if part)


def within(pages: Iterable[WebPage], search: WebSearch) -> tuple[WebPage, ...]:
    """The pages of the domains that the client wants."""
    return tuple(
        page
        for page in pages
        if (not search.allowed_domains or _is_of(page.url, search.allowed_domains))
        and not _is_of(page.url, search.blocked_domains)
    )


def _is_of(url: str, domains: Iterable[str]) -> bool:
    """Whether the address is of a domain, or of one below it; a domain may name a path."""
    host, path = _host_and_path(url)
    for given in domains:
        domain, wanted = _host_and_path(given)
        if (host == domain or host.endswith(f".{domain}")) and path.startswith(wanted):
            return True
    return False


def _host_and_path(address: str) -> tuple[str, str]:
    address = address.lower()
    rest = (address.partition("://")[2] or address).removeprefix("www.")
    host = re.split(r"[/?#:]", rest, maxsplit=1)[0]
    return host, rest[len(host) :].rstrip("/*")
