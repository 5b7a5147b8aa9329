"""The sources that the service names for an answer, as events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kiro_auth.conversation import Citation
from kiro_auth.json_values import as_object, as_objects
from kiro_auth.kiro import checked
from kiro_auth.kiro.reply.payloads import CitationMark, DocumentCitation, WebLinks


def cited(event: WebLinks | CitationMark | DocumentCitation) -> Iterator[Citation]:
    """The sources that one event names; one without an address is none."""
    match event:
        case WebLinks(supplementary_web_links=links):
            for link in as_objects(links):
                yield from _source(link.get("url"), link.get("title"))
        case CitationMark(target=target, citation_link=url, citation_text=title):
            place = as_object(target)
            span = as_object(place.get("range")) or dict.fromkeys(("start", "end"), place.get("location"))
            yield from _source(url, title, span.get("start"), span.get("end"))
        case DocumentCitation(title=title, location=location):
            yield from _source(as_object(as_object(location).get("web")).get("url"), title)


def _source(url: Any, title: Any, start: Any = None, end: Any = None) -> Iterator[Citation]:
    if address := checked.identifier(url):
        yield Citation(address, checked.text(title) or "", checked.position(start), checked.position(end))
