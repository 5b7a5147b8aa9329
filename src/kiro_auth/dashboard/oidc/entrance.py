"""The way into the dashboard by the company's sign-in: to the provider, and back from it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from aiohttp import web

from kiro_auth.addresses import acceptable_url
from kiro_auth.dashboard.addresses import SIGN_IN, SIGNED_IN
from kiro_auth.dashboard.answers import HEADERS, cookie_name, html, with_session
from kiro_auth.dashboard.oidc import faults
from kiro_auth.dashboard.oidc.attempts import ATTEMPT_SECONDS, Attempt, Attempts
from kiro_auth.dashboard.oidc.company import EMAIL, Company
from kiro_auth.dashboard.oidc.provider import Description, Provider
from kiro_auth.dashboard.pages import closed_page, entered_page
from kiro_auth.dashboard.sessions import Session, Sessions
from kiro_auth.dashboard.sources import Holders
from kiro_auth.events import Caller, noted
from kiro_auth.failures import ConfigFailed, Failure, KiroAuthError
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import read_file

log = logging.getLogger("kiro_auth.dashboard")

_LARGEST_SECRET: Final = 4096
"""Bytes of its file."""
_STATUSES: Final = {"KA-OIDC-PROVIDER": 502, "KA-CONFIG": 500, "KA-STORE": 503, "KA-DATABASE": 503}


class Entrance:
    """The handlers.  `company` says who may sign in now, None: nobody; `clock` gives epoch seconds."""

    def __init__(
        self,
        company: Callable[[], Company | None],
        provider: Provider,
        sessions: Sessions,
        holders: Holders,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._company = company
        self._provider = provider
        self._sessions = sessions
        self._holders = holders
        self._clock = clock
        self._attempts = Attempts()

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.get(SIGN_IN, self._leave, allow_head=False),
            web.get(SIGNED_IN, self._come_back, allow_head=False),
        ]

    def is_open(self) -> bool:
        """Whether people can sign in so."""
        return self._company() is not None

    def still_lets_in(self, session: Session) -> bool:
        """Whether the person of a session may see now what it shows; one without a person came otherwise."""
        if session.person is None:
            return True
        company = self._company()
        if company is None:
            return False
        if session.holder is None:
            return company.is_operator(session.person)
        return (
            not company.is_operator(session.person) and company.key_of(session.person) == session.holder.name
        )

    async def _leave(self, request: web.Request) -> web.Response:
        """Send the browser to the provider."""
        try:
            company = self._company_now()
            redirect = _redirect(request, company)
            protocol = await _protocol()
            endpoint = (await self._provider.description(company.issuer)).authorization_endpoint
        except KiroAuthError as error:
            return self._refused(error.failure)
        attempt = self._attempts.begin()
        url = protocol.authorization_url(endpoint, company, attempt, redirect)
        response = web.Response(status=303, headers={**HEADERS, "Location": url})
        response.set_cookie(
            _attempt_name(request),
            attempt.cookie,
            max_age=ATTEMPT_SECONDS,
            path=SIGNED_IN,
            httponly=True,
            samesite="Lax",  # the provider's page leads back here
            secure=redirect.startswith("https:"),
        )
        return response

    async def _come_back(self, request: web.Request) -> web.Response:
        """Begin the session of the person whom the provider names."""
        try:
            company = self._company_now()
            person = await self._person(request, company)
            holder = self._holder(company, person)
        except KiroAuthError as error:
            response = self._refused(error.failure)
        else:
            log.info(
                "a person signed in to the dashboard by the company",
                extra=noted("dashboard", state="operator" if holder is None else "holder"),
            )
            # A redirect would still count as the provider's, and bring no cookie that is SameSite=Strict.
            response = with_session(request, html(entered_page()), self._sessions.begin(holder, person))
        response.del_cookie(_attempt_name(request), path=SIGNED_IN)
        return response

    async def _person(self, request: web.Request, company: Company) -> str:
        """Whom the provider names in its answer.  Raises SignInFailed, ConfigFailed."""
        query = request.query
        cookie = request.cookies.get(_attempt_name(request), "")
        attempt = self._attempts.find(cookie, query.get("state", ""))
        if attempt is None:
            raise faults.refused("This sign-in was not begun in this browser, or too long ago.")
        description = await self._provider.description(company.issuer)
        _check_issuer(query.get("iss"), description)
        if "error" in query or not query.get("code"):
            is_refusal = query.get("error") == "access_denied"
            raise faults.refused(f"The company {'refused' if is_refusal else 'gave up'} the sign-in.")
        redirect = _redirect(request, company)
        claims = await self._claims(company, description, attempt, query["code"], redirect)
        person = claims.get(company.claim)
        if not isinstance(person, str) or not person:
            raise faults.stranger(f"The company's sign-in says no `{company.claim}`.")
        if company.claim == EMAIL and claims.get("email_verified") is not True:
            raise faults.stranger(f"The company does not say that {person} is verified as yours.")
        return person

    async def _claims(
        self, company: Company, description: Description, attempt: Attempt, code: str, redirect: str
    ) -> Mapping[str, Any]:
        """What the company says of the person, for the code."""
        protocol = await _protocol()
        secret = await asyncio.to_thread(_secret_of, company)
        request = protocol.token_request(description, company, secret, attempt, code, redirect)
        tokens = await self._provider.tokens(description, request)
        for anew in (False, True):  # the provider may have a new key since its keys were read
            keys = await self._provider.keys(description, anew=anew)
            claims: Mapping[str, Any] | None = protocol.claims_of(
                tokens, keys, company, attempt.nonce, self._clock()
            )
            if claims is not None:
                return claims
        raise faults.refused("The company's sign-in cannot be believed: its signature is not the company's.")

    def _holder(self, company: Company, person: str) -> Caller | None:
        """Whose page the person sees; None: the operator's.  Raises SignInFailed."""
        if company.is_operator(person):
            return None
        name = company.key_of(person)
        if name is None:
            raise faults.stranger(f"{person} may not see this dashboard.")
        holder = self._holders.named(name)
        if isinstance(holder, Failure):
            raise ConfigFailed(holder)
        if holder is None:
            raise faults.stranger(f"{person} would see the page of the key {name}, which is not there.")
        return holder

    def _company_now(self) -> Company:
        company = self._company()
        if company is None:
            raise ConfigFailed(faults.NOT_SET_UP)
        return company

    def _refused(self, failure: Failure) -> web.Response:
        """The page that says so; the log has the code alone, as the words may name a person."""
        log.warning(
            "a sign-in to the dashboard by the company failed: %s",
            failure.code,
            extra=noted("dashboard", failure=failure.code),
        )
        status = 404 if failure is faults.NOT_SET_UP else _STATUSES.get(failure.code, 403)
        words = failure.spoken(self._clock())
        return html(closed_page("You are not signed in", words, signs_in=self.is_open()), status)


async def _protocol() -> ModuleType:
    """Authlib takes long to import, so that a thread does it.  Raises ConfigFailed."""

    def imported() -> ModuleType:
        try:
            from kiro_auth.dashboard.oidc import protocol
        except ImportError:
            raise ConfigFailed(faults.WITHOUT_LIBRARY) from None
        return protocol

    return await asyncio.to_thread(imported)


def _redirect(request: web.Request, company: Company) -> str:
    """Where the provider is to send the browser.  The guard has looked at the host, and at who says https."""
    if company.redirect is not None:
        return company.redirect
    url = f"{request.scheme}://{request.host}{SIGNED_IN}"
    if not acceptable_url(url):
        raise faults.wrong_option(
            f"Browsers would come back to {request.host} unencrypted. Name the proxy that speaks TLS in "
            "trusted_proxies, or the address in dashboard_oidc.redirect."
        )
    return url


def _check_issuer(said: str | None, description: Description) -> None:
    """That the answer is of this provider, where it says so (RFC 9207)."""
    missing = said is None and description.authorization_response_iss_parameter_supported
    if missing or said not in (None, description.issuer):
        raise faults.refused("This answer is of another company than was asked.")


def _secret_of(company: Company) -> str | None:
    """The client's secret.  Raises ConfigFailed."""
    if company.client_secret_file is None:
        return None
    try:
        secret = read_file(Path(company.client_secret_file), _LARGEST_SECRET).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no text"
        raise faults.wrong_option(f"client_secret_file of dashboard_oidc cannot be read: {why}.") from error
    if not secret.isascii() or not secret:
        raise faults.wrong_option("client_secret_file of dashboard_oidc holds no secret.")
    return secret


def _attempt_name(request: web.Request) -> str:
    return f"{cookie_name(request)}-sign-in"
