"""Items of the Responses API that Kiro has no shape for: calls of OpenAI's own tools, and what came of them.

The model reads them as text, or sees them where they are a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kiro_auth.conversation import Image, Role, Text
from kiro_auth.surfaces.decoding import refused
from kiro_auth.surfaces.media import image_of
from kiro_auth.surfaces.parts import kept

_REFUSALS: Final = {
    "configuration_update": "is not supported; set `reasoning` and `text` of the request instead.",
}
_ELSEWHERE: Final = "[Something was left out here: it is kept elsewhere, and this gateway fetches nothing.]"


def plain(kind: str, item: Mapping[str, Any], where: str) -> tuple[Role, list[Text | Image]]:
    """Whose turn an item of this type belongs to, and what the model gets of it.

    Raises TurnFailed (KA-REQUEST) for one without which the conversation would be another.
    """
    if kind in _REFUSALS:
        raise refused(f"`{where}` of the type {kind} {_REFUSALS[kind]}")
    if isinstance(item.get("encrypted_content"), str):  # a history that was compacted
        why = "only OpenAI can decrypt it. Send the history that it stands for."
        raise refused(f"`{where}` of the type {kind[:40]} cannot be read: {why}")
    match item:
        case {"type": "computer_call_output", "output": {"image_url": str(url)}}:
            screen = image_of(url)
            return "user", [Text("The screen after a computer_call:"), screen]
        case {"type": "image_generation_call", "result": str(data)}:
            form = item.get("output_format")
            picture = Image(form if isinstance(form, str) else "png", data)
            return "user", [Text("The picture of an image_generation_call:"), picture]
    came_back = kind.endswith(("_output", "_response"))
    return "user" if came_back else "assistant", [kept(item, f"An item of the type {kind}:")]


def reference(item: Mapping[str, Any]) -> list[Text]:
    """What stands in place of an item that is kept elsewhere."""
    # `rs_` begins the ids of reasoning, which could not be replayed without its signature anyway.
    return [] if str(item.get("id")).startswith("rs_") else [Text(_ELSEWHERE)]
