"""What goes wrong with a sign-in by the company, as failures; none of them holds a code or a token."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from kiro_auth.failures import ConfigFailed, Failure, SignInFailed

_AGAIN: Final = "Begin again: open the dashboard and press Sign in."
_OF_OPTION: Final = "Correct dashboard_oidc of kiro.json, then: kiro-auth reload"

NOT_SET_UP: Final = Failure(
    code="KA-CONFIG",
    message="This gateway has no sign-in by a company.",
    next_step="Set dashboard_oidc in kiro.json, then: kiro-auth reload",
)
WITHOUT_LIBRARY: Final = Failure(
    code="KA-CONFIG",
    message="dashboard_oidc needs the extra `oidc`, which is not installed.",
    next_step="Install it, in this program's clone: pipx install --force '.[oidc]'",
)


def wrong_option(what: str) -> ConfigFailed:
    """Something about the option was found only now."""
    return ConfigFailed(Failure(code="KA-CONFIG", message=what, next_step=_OF_OPTION))


def away(url: str, why: str) -> SignInFailed:
    """The provider does not answer as one does."""
    message = f"The company's sign-in at {urlsplit(url).hostname} {why}."
    step = (
        "See that its server works and `issuer` of dashboard_oidc in kiro.json is right, then sign in again."
    )
    return SignInFailed(Failure(code="KA-OIDC-PROVIDER", message=message, next_step=step))


def refused(why: str, next_step: str = _AGAIN) -> SignInFailed:
    """The sign-in came to nothing, or cannot be believed."""
    return SignInFailed(Failure(code="KA-OIDC", message=why, next_step=next_step))


def stranger(why: str) -> SignInFailed:
    """The company knows the person, and this gateway does not."""
    step = "Ask the operator of the gateway, who lists people in dashboard_oidc of kiro.json."
    return SignInFailed(Failure(code="KA-OIDC-PERSON", message=why, next_step=step))
