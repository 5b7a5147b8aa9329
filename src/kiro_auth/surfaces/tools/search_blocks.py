"""Searches of the web as blocks of the Anthropic API, written and read back.

A history holds each as the call and the result that the model saw.  For this the words of a page go out in
`encrypted_content`, which clients keep and send back unread; they are not encrypted.
"""

from __future__ import annotations

import base64
import binascii
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import (
    Citation,
    SearchBegun,
    SearchEnded,
    SearchFault,
    Text,
    ToolCall,
    ToolResult,
    WebPage,
)
from kiro_auth.surfaces.decoding import call_input
from kiro_auth.surfaces.tools.web_search import NAME, pages_text, result_text

_PREFIX: Final = "srvtoolu_"
_MARK: Final = "kiro1."
_QUOTED: Final = 150
"""Characters of a page that `cited_text` may hold: Anthropic's documentation of the search."""


class _Kept(Struct):
    text: str = ""


# ------------------------------------------------------------------------------------------ written


def call_block(begun: SearchBegun) -> dict[str, Any]:
    """The block that tells of a search, without its input."""
    return {"type": "server_tool_use", "id": _PREFIX + begun.id, "name": NAME, "input": {}}


def call_json(begun: SearchBegun) -> str:
    """The input of that block, as JSON text."""
    return msgspec.json.encode({"query": begun.query}).decode()


def result_block(ended: SearchEnded) -> dict[str, Any]:
    """The block with what came of it."""
    content: Any = [_page(page) for page in ended.pages]
    if ended.fault is not None:
        content = {"type": "web_search_tool_result_error", "error_code": ended.fault}
    return {"type": "web_search_tool_result", "tool_use_id": _PREFIX + ended.id, "content": content}


def _page(page: WebPage) -> dict[str, Any]:
    return {
        "type": "web_search_result",
        "url": page.url,
        "title": page.title,
        "encrypted_content": _sealed(page.text),
        "page_age": page.age,
    }


def citation(source: Citation) -> dict[str, Any]:
    """A page of the web that the text names."""
    return {
        "type": "web_search_result_location",
        "url": source.url,
        "title": source.title,
        "cited_text": source.quote[:_QUOTED],
        "encrypted_index": "",
    }


def _sealed(text: str) -> str:
    return _MARK + base64.b64encode(msgspec.json.encode(_Kept(text))).decode()


# ---------------------------------------------------------------------------------------- read back


def search_call(id_: str, block: Mapping[str, Any]) -> ToolCall:
    """The call behind a `server_tool_use`."""
    return ToolCall(id_.removeprefix(_PREFIX), NAME, call_input(block.get("input")))


def search_result(id_: str, content: Any) -> ToolResult:
    """The result behind a `web_search_tool_result`, whoever made the search."""
    id_ = id_.removeprefix(_PREFIX)
    match content:
        case {"error_code": code}:
            ended = SearchEnded(id_, "", fault=_fault(code))
            return ToolResult(id_, (Text(result_text(ended)),), is_error=True)
        case list():
            return ToolResult(id_, (Text(pages_text(tuple(_pages(content)))),))
        case _:
            return ToolResult(id_, (Text(pages_text(())),))


def _fault(code: Any) -> SearchFault:
    faults: tuple[SearchFault, ...] = typing.get_args(SearchFault)
    return next((fault for fault in faults if fault == code), "unavailable")


def _pages(content: list[Any]) -> Iterator[WebPage]:
    for page in content:
        match page:
            case {"url": str(url)}:
                title, age = page.get("title"), page.get("page_age")
                yield WebPage(
                    url,
                    title if isinstance(title, str) else "",
                    _opened(page.get("encrypted_content")),
                    age if isinstance(age, str) else None,
                )


def _opened(content: Any) -> str:
    """The words that were kept; none for a text that did not come from here."""
    if not isinstance(content, str) or not content.startswith(_MARK):
        return ""
    try:
        raw = base64.b64decode(content.removeprefix(_MARK), validate=True)
        return msgspec.json.decode(raw, type=_Kept).text
    except (binascii.Error, ValueError):
        return ""
