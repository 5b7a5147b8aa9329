"""What a client insists on and Kiro has no field for, told to the model in words.

The form of the answer stands with the instructions, which are the same in every turn: the service binds the
signatures of reasoning to what was said before.  That a tool must be called is about this turn alone, and
stands at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiro_auth.conversation import AnswerFormat, Conversation

_JSON: Final = (
    "# Form of the answer\n\n"
    "A program reads the answer. Unless you call a tool, answer with {what}, and with nothing else: no words "
    "before or after it, no code fence."
)


def form_in_words(form: AnswerFormat | None) -> Sequence[str]:
    """What the model is told of the form of its answer."""
    if form is None:
        return ()
    what = "one JSON object" if form.schema is None else "one JSON value that matches the JSON Schema below"
    words = [_JSON.format(what=what)]
    about = ": ".join(text for text in (form.name, form.description) if text)
    if about:
        words.append(f"The answer is {about}")
    if form.schema is not None:
        words.append(f"JSON Schema of the answer:\n\n{msgspec.json.encode(form.schema).decode()}")
    return words


def calls_in_words(conversation: Conversation) -> Sequence[str]:
    """What the model is told of how many tools it may call in one answer."""
    if not (conversation.one_call and conversation.tools):
        return ()
    return ("# Calls of tools\n\nCall one tool at most in an answer, and wait for its result.",)


def choice_in_words(conversation: Conversation, alias: Callable[[str], str]) -> str:
    """What the model is told of a call that it must make; `alias` gives the names of tools as sent."""
    choice = conversation.tool_choice
    if choice.mode != "required":
        return ""
    declared = [tool.name for tool in conversation.tools]
    named = frozenset(choice.names)
    wanted = [alias(name) for name in declared if name in named or not named]
    match wanted:
        case []:
            missing = f"the tool {choice.names[0]}" if choice.names else "a tool"
            return f"You were to call {missing} now, but none is offered here. Say so."
        case [name]:
            call = f"the tool {name}"
        case _ if choice.names:
            call = f"one of the tools {', '.join(wanted)}"
        case _:
            call = "one of your tools"
    return f"Answer this with a call of {call}, not with words alone."
