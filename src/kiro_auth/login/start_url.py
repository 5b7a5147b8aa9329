"""What a person means who types the start URL of an organisation.

What can be meant in one way only is understood, and said; everything else is refused with what is expected.
A URL that is whole is passed on as it is written, but for the case of its host.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from kiro_auth.addresses import REGION
from kiro_auth.failures import Failure, WrongValue
from kiro_auth.kinds import BUILDER_ID_START_URL, Kind, is_builder_id

EXAMPLE: Final = "https://d-1234567890.awsapps.com/start"
_PORTAL: Final = re.compile(r"[a-z0-9][a-z0-9-]*\.awsapps\.com")
"""An AWS access portal: by the id of its directory (`d-` and ten digits), or by the name given to it."""
_KNOWN: Final = (".awsapps.com", ".awsapps.cn", "identitycenter.amazonaws.com", ".app.aws")
"""Hosts of start URLs end like this: the pages of AWS on IAM Identity Center, 2026."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_BUILDER_ID: Final = ("builderid", "awsbuilderid")
_OTHER_PAGES: Final = ("device.sso.", "signin.aws.", "console.aws.", "app.kiro.dev", "oidc.")


class StartUrl(Struct, frozen=True):
    """Where to sign in, and with which kind of sign-in.  `notice` says what else was understood."""

    kind: Kind
    url: str
    notice: str | None = None


def read_start_url(text: str) -> StartUrl:
    """The start URL that is meant.  Raises WrongValue with what is expected."""
    given = text.strip().strip("\"'<>").strip()
    if re.sub(r"[\s_-]", "", given).lower() in _BUILDER_ID:
        return _builder_id(given)
    if not given:
        raise _refused("The start URL is empty")
    if re.search(r"\s", given) or not given.isprintable():
        raise _refused(f"{given!r} is no start URL, as it has white space in it")
    scheme, has_scheme, rest = given.partition("://")
    if not has_scheme:
        scheme, rest = "https", given
    if scheme.lower() not in ("http", "https"):
        raise _refused(f"{given} is no start URL: it begins with {scheme}://")
    host, path = _parted(rest)
    if "@" in host:
        raise _refused(f"{given} is no start URL, but looks like an e-mail address")
    if not has_scheme and "." not in host:
        host, path = _portal_by_name(given, host, path)
    url = _whole(given, host, path, sure=bool(has_scheme))
    if is_builder_id(url):
        return _builder_id(given)
    return StartUrl("idc", url, _notice(text, url, host))


def _parted(rest: str) -> tuple[str, str]:
    """The host, in small letters, and all behind it."""
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return host.lower(), rest[len(host) :]


def _portal_by_name(given: str, name: str, path: str) -> tuple[str, str]:
    """The access portal that goes by this name, such as `d-1234567890`."""
    if re.fullmatch(REGION, name):
        raise _refused(f"{given} is a region, no start URL")
    if not _NAME.fullmatch(name) or name.isdigit() or path.strip("/").lower() not in ("", "start"):
        raise _refused(f"{given} is no start URL")
    return f"{name}.awsapps.com", path


def _whole(given: str, host: str, path: str, *, sure: bool) -> str:
    """The URL with what was left out: its scheme, and the path of an access portal."""
    if any(page in host for page in _OTHER_PAGES):
        raise _refused(f"{given} is another page of AWS, no start URL")
    if not re.fullmatch(r"[a-z0-9.-]+(:\d+)?|\[[0-9a-f:.]+\](:\d+)?", host):
        raise _refused(f"{given} is no start URL")
    if not host.endswith(_KNOWN) and not sure:
        raise _refused(f"{given} is no start URL of AWS")
    if _PORTAL.fullmatch(host) and re.fullmatch(r"/?(start)?/?", path, re.IGNORECASE):
        path = "/start/" if path.lower() == "/start/" else "/start"
    return f"https://{host}{path}"


def _builder_id(given: str) -> StartUrl:
    return StartUrl("builder-id", BUILDER_ID_START_URL, f"{given} means AWS Builder ID, so that is used.")


def _notice(text: str, url: str, host: str) -> str | None:
    notices = []
    if url != text.strip():
        notices.append(f"The start URL is taken as {url}.")
    if not host.endswith(_KNOWN):
        notices.append(f"Start URLs mostly look like {EXAMPLE}; trying {url} all the same.")
    return " ".join(notices) or None


def _refused(message: str) -> WrongValue:
    return WrongValue(
        Failure(
            code="KA-CONFIG",
            message=f"{message}.",
            next_step=f"It looks like {EXAMPLE}, and stands in the invitation to your organisation's AWS "
            "access portal; your administrator knows it.",
        )
    )


def clean_start_url(url: str) -> str:
    """The start URL without what browsers add to it: fragment, query, trailing slash."""
    return url.strip().partition("#")[0].partition("?")[0].rstrip("/")
