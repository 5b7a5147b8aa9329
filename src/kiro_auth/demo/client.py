"""A client of the demonstration's gateway, as small as a client can be."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.json_values import as_object, as_text

ANSWER_SECONDS: Final = 60.0
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


class Gateway:
    """The running gateway, and the model that it is asked for."""

    def __init__(self, url: str, key: str, model: str) -> None:
        self.url = url
        self.key = key
        self.model = model

    def lines(self, body: dict[str, Any], session: str) -> Iterator[bytes]:
        """The lines of the answer to one Messages request, as they come.  Raises TurnFailed."""
        request = urllib.request.Request(  # noqa: S310 (our own loopback address)
            f"{self.url}/v1/messages",
            data=json.dumps({"model": self.model, "max_tokens": 1000, **body}).encode(),
            headers={
                "x-api-key": self.key,
                "content-type": "application/json",
                "x-session-affinity": session,
            },
        )
        try:
            with _DIRECT.open(request, timeout=ANSWER_SECONDS) as answer:
                yield from answer
        except urllib.error.HTTPError as error:
            raise _refused(_sentence(error.read()) or f"HTTP status {error.code}.") from error
        except OSError as error:
            raise _refused(f"{getattr(error, 'reason', None) or error}.") from error

    def message(self, messages: list[Any], session: str, **more: Any) -> Any:
        """One whole answer.  Raises TurnFailed."""
        return json.loads(b"".join(self.lines({"messages": messages, **more}, session)))


def simulator_calls(url: str) -> list[Any]:
    """The calls that the simulated AWS has answered, oldest first."""
    with _DIRECT.open(f"{url}/_control/calls", timeout=ANSWER_SECONDS) as answer:
        calls: list[Any] = json.load(answer)["calls"]
    return calls


def _sentence(body: bytes) -> str:
    try:
        return as_text(as_object(as_object(json.loads(body)).get("error")).get("message")) or ""
    except ValueError:
        return ""


def _refused(why: str) -> TurnFailed:
    return TurnFailed(Failure(code="KA-INTERNAL", message=f"The gateway gave no answer: {why}"))
