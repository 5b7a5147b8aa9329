"""Turns of a program that speaks the Messages API, over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from support.programs import KEY

WORDS = "my-very-private-words"
"""What is asked, unless a test says something else."""


def turn(url: str, agent: str = "claude-cli/2.1 (external, cli)", *, key: str = KEY, **fields: Any) -> int:
    """One turn at the gateway, with these fields instead of the usual ones; its status."""
    body = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": WORDS}]}
    request = urllib.request.Request(
        f"{url}/v1/messages", json.dumps(body | fields).encode(), {"x-api-key": key, "user-agent": agent}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
