"""Words of errors that clients act upon, and what says the same without them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

# Clients search message and body of an error for words.  Beside each stands what says the same without it;
# no replacement may end or begin another of the phrases.

# OpenCode 1.x repeats the request for minutes when it finds one of these, digits inside longer numbers
# included (seen with 1.18.34); OpenCode 2.x for some of them.
_RETRY_PHRASES: Final[dict[str, str]] = {
    r"rate.?limit(?:ed|ing|s)?": "limit of pace",
    r"too many requests": "more requests than allowed",
    r"overloaded": "over capacity",
    r"service unavailable": "the service does not answer",
    r"internal error": "fault inside",
    r"server error": "fault of its own",
    r"provider returned error": "the provider refused",
    r"terminated": "ended",
    r"fetch failed": "the call failed",
    r"network error": "trouble on the line",
    r"connection (?:error|refused|lost)": "the connection failed",
    r"socket hang up": "the line was closed",
    r"econnreset": "the line was closed",
    r"etimedout": "no answer came",
    r"(?:request|response|connection|network|stream|read) timed out": "no answer came",
    r"retry your request": "send the request once more",
    r"resource.?exhausted": "nothing is left",
    r"try again (?:later|in)": "wait and repeat",
    r"(?:currently|temporarily) at capacity": "fully used",
}
_RETRY_NUMBERS: Final = r"\d*(?:429|50[0234]|524)\d*"
# OpenCode 2.x takes any error with one of these for an answer that was filtered, whatever its status
# (packages/ai/src/provider-error.ts, 4933a71b).
_FILTER_PHRASES: Final[dict[str, str]] = {
    r"content[-_\s]?policy": "rules of use",
    r"content[-_\s]?filter": "filter of replies",
    r"safety": "protection",
}
# And a 429 with one of these for a plan that is used up, which it does not wait for (the same file).  In a
# failure that is final they are true, and do no harm.
_QUOTA_PHRASES: Final[dict[str, str]] = {
    r"insufficient[-_\s]?quota": "too small an allowance",
    r"quota[-_\s]?exceeded": "allowance used up",
}


class _Wording:
    """Puts phrases in other words, and spaces out `numbers`, those that hold certain digits."""

    def __init__(self, phrases: Mapping[str, str], numbers: str | None = None) -> None:
        patterns = [f"({phrase})" for phrase in phrases]
        if numbers is not None:
            patterns.append(f"(?P<number>{numbers})")
        self._pattern = "|".join(patterns)
        self._plainer = ("", *phrases.values())  # by the number of the group that matched

    @cached_property
    def _found(self) -> re.Pattern[str]:
        """Compiled for the first failure, as that takes longer than all else of a start that needs it not."""
        return re.compile(self._pattern, re.IGNORECASE | re.ASCII)

    def __call__(self, text: str) -> str:
        while (softer := self._found.sub(self._softer, text)) != text:
            text = softer  # what was put in may make a phrase with its neighbours: `raterate limit`
        return text

    def _softer(self, match: re.Match[str]) -> str:
        phrase = match.group()
        if match.lastgroup:
            return "·".join(phrase)
        words = self._plainer[match.lastindex or 0]
        return words[0].upper() + words[1:] if phrase[0].isupper() else words


_final: Final = _Wording({**_RETRY_PHRASES, **_FILTER_PHRASES}, _RETRY_NUMBERS)
_passing: Final = _Wording({**_FILTER_PHRASES, **_QUOTA_PHRASES})


def final_wording(text: str) -> str:
    """`text` without any word or digits that a client would take for a passing error, or for another one.

    For failures that must stop at once.  Phrases are put in other words; a number that holds such digits
    is spaced out (`1500` is `1·5·0·0`).
    """
    return _final(text)


def passing_wording(text: str) -> str:
    """`text` without any word for which a client would not wait, or take it for another error.

    For failures that the client is asked to repeat after a while.
    """
    return _passing(text)
