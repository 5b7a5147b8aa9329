"""Whether the gateway that runs goes by other options than those that count here, and how it takes them."""

from __future__ import annotations

from typing import Final

from kiro_auth.config import load
from kiro_auth.gateway.calls import NEXT_START, RESTART, Listener, call
from kiro_auth.gateway.discovery import Address
from kiro_auth.gateway.options import RELOAD, options_in_force
from kiro_auth.json_values import NotJson, as_list, as_object, decoded

OTHER_OPTIONS: Final = "It goes by other options than kiro.json and the KIRO_ variables have now."


def has_other_options(gateway: Address) -> bool:
    """Whether the gateway goes by other options than those that count here now."""
    return gateway.options is not None and gateway.options != options_in_force(load())


def remedy(gateway: Address) -> str:
    """How it takes them: for each option as that can be."""
    answer = call(gateway, "GET", RELOAD)
    if answer.listener is not Listener.OURS:
        return "It does not say in time how it takes them: kiro-auth status asks it again."
    try:
        named = as_object(decoded(answer.body))
    except NotJson:  # it is of an older version
        named = {}
    if as_list(named.get("problems")):
        return "Correct kiro.json first: kiro-auth config check"
    changed, later = as_list(named.get("changed")), as_list(named.get("needsRestart"))
    if not changed and not later:  # variables are those that it was started with
        return RESTART
    ways = [f"For {', '.join(changed)}: kiro-auth reload."] if changed else []
    return " ".join([*ways, *([f"For {', '.join(later)}: kiro-auth stop. {NEXT_START}"] if later else [])])
