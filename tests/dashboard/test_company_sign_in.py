"""People of a company sign in to the dashboard: a real provider, a real gateway, and which answers count."""

from __future__ import annotations

import base64
import hmac
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey
from yarl import URL

from kiro_auth.gateway.log_lines import LOG_FILE
from support.openid import SECRET, OpenID, openid
from support.programs import Home

PEOPLE = {"Accept": "text/html,*/*;q=0.8"}
OPERATOR, HOLDER = "anna@example.com", "bob@example.com"


@pytest.fixture
def provider() -> Iterator[OpenID]:
    with openid() as provider:
        yield provider


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def set_up(home: Home, provider: OpenID, **more: Any) -> None:
    """Write the option."""
    secret = home.folder / "oidc.secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    home.config.mkdir(parents=True, exist_ok=True)
    option = {
        "issuer": provider.issuer,
        "client_id": "kiro",
        "client_secret_file": str(secret),
        "operators": [OPERATOR],
        "holders": {HOLDER: "bob"},
    }
    (home.config / "kiro.json").write_text(json.dumps({"dashboard_oidc": option | more}))


class Visitor:
    """A browser without a screen, which goes where it is sent."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url

    async def get(self, url: str, **headers: str) -> tuple[int, Any, str]:
        """Status, headers and text."""
        where = URL(url if "://" in url else self.url + url, encoded=True)
        async with self._http.get(where, headers=PEOPLE | headers, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.text()

    async def back(self, **headers: str) -> str:
        """Press Sign in, and pass the provider's desk; the address that it leads back to."""
        status, answer, text = await self.get("/dashboard/sign-in", **headers)
        assert status == 303, text
        status, answer, text = await self.get(answer["Location"])
        assert status == 302, text
        return str(answer["Location"])

    async def sign_in(self) -> tuple[int, str]:
        """All of it; what the browser gets in the end."""
        status, _, text = await self.get(await self.back())
        return status, text

    def attempt(self) -> dict[str, str]:
        """The cookie of the sign-in under way, by its name."""
        jar = self._http.cookie_jar
        return {cookie.key: cookie.value for cookie in jar if cookie.key.endswith("-sign-in")}

    async def sees(self) -> str:
        return (await self.get("/"))[2]


@asynccontextmanager
async def visiting(home: Home) -> AsyncIterator[Visitor]:
    with home.gateway() as url:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            yield Visitor(http, url)


@asynccontextmanager
async def visiting_too(visitor: Visitor) -> AsyncIterator[Visitor]:
    """Another browser at the same gateway."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Visitor(http, visitor.url)


def log_of(home: Home) -> str:
    return (home.state / LOG_FILE).read_text()


async def test_an_operator_sees_the_whole_dashboard_and_no_log_has_the_e_mail_a_code_or_a_token(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    async with visiting(home) as visitor:
        assert "Sign in with your company" in await visitor.sees()
        back = await visitor.back()
        status, headers, text = await visitor.get(back)
        assert (status, "You are signed in" in text) == (200, True)
        cookies = headers.getall("Set-Cookie")
        [session] = [cookie for cookie in cookies if "-sign-in=" not in cookie]
        assert all(part in session for part in ("HttpOnly", "SameSite=Strict", "Max-Age=43200", "Path=/"))
        assert any(re.search(r'-sign-in="?"?; .*Max-Age=0', cookie) for cookie in cookies)
        assert "form-action 'none'" in headers["Content-Security-Policy"]
        assert '<meta name="csrf"' in await visitor.sees()
        assert (await visitor.get("/dashboard/spending"))[0] == 200
    code, state = (parse_qs(urlsplit(back).query)[name][0] for name in ("code", "state"))
    for hidden in (OPERATOR, code, state, SECRET, "an-access-token"):
        assert hidden not in log_of(home)


async def test_a_person_with_a_key_sees_its_page_alone_and_another_spelling_of_the_e_mail_is_the_same(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    home.json("keys", "create", "bob", "--budget", "5/day")
    provider.person["email"] = "Bob@Example.com"
    async with visiting(home) as visitor:
        assert (await visitor.sign_in())[0] == 200
        assert "The key bob" in await visitor.sees()
        assert (await visitor.get("/dashboard/spending"))[0] == 403
        home.run("keys", "revoke", "bob")
        end = time.monotonic() + 30
        while "The key bob</h1>" in await visitor.sees():
            assert time.monotonic() < end
        assert (await visitor.sign_in())[0] != 200


STRANGERS: list[tuple[dict[str, Any], str]] = [
    ({"email": "eve@example.com"}, "eve@example.com may not see this dashboard"),
    ({"email": "\u0430nna@example.com"}, "may not see this dashboard"),
    ({"email": HOLDER}, "the key bob, which is not there"),
    ({"email_verified": False}, "is verified as yours"),
    ({"email_verified": "true"}, "is verified as yours"),
    ({"email": None}, "says no `email`"),
    ({"email": [OPERATOR]}, "says no `email`"),
]


async def test_whom_the_option_does_not_name_is_refused_by_name(home: Home, provider: OpenID) -> None:
    set_up(home, provider)
    usual = provider.person
    async with visiting(home) as visitor:
        for person, words in STRANGERS:
            provider.person = usual | person
            status, text = await visitor.sign_in()
            assert (status, words in text, "KA-OIDC-PERSON" in text) == (403, True, True), text
            assert "You are not signed in" in text
            assert '<meta name="csrf"' not in await visitor.sees()
    assert "@example.com" not in log_of(home)


async def test_people_may_be_called_by_another_claim(home: Home, provider: OpenID) -> None:
    set_up(home, provider, claim="preferred_username", operators=["anna"])
    provider.person = {"preferred_username": "anna"}
    async with visiting(home) as visitor:
        assert (await visitor.sign_in())[0] == 200
        assert '<meta name="csrf"' in await visitor.sees()


def packed(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def unsigned(header: dict[str, Any], claims: dict[str, Any], alg: str = "none") -> str:
    return ".".join([*(packed(json.dumps(part).encode()) for part in ({**header, "alg": alg}, claims)), ""])


def signed_with_the_public_key(provider: OpenID, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """What a verifier believes that takes the token's word for how it is signed."""
    text = unsigned(header, claims, "HS256")
    key = provider.key.as_pem(private=False)
    return text + packed(hmac.digest(key, text.rstrip(".").encode(), "sha256"))


def wrong_answers(provider: OpenID) -> dict[str, Any]:
    now, stranger = int(time.time()), RSAKey.generate_key(2048)
    return {
        "nonce": {"claims": {"nonce": "another"}},
        "no nonce": {"claims": {"nonce": None}},
        "audience": {"claims": {"aud": "another-program"}},
        "audiences": {"claims": {"aud": ["kiro", "another-program"]}},
        "party": {"claims": {"azp": "another-program"}},
        "issuer": {"claims": {"iss": "https://login.example.org"}},
        "expired": {"claims": {"iat": now - 900, "exp": now - 600}},
        "never": {"claims": {"exp": None}},
        "of the future": {"claims": {"iat": now + 900, "exp": now + 1200}},
        "of another token": {"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
        "alg none": {"sign": unsigned},
        "HMAC with the public key": {"sign": partial(signed_with_the_public_key, provider)},
        "another key": {"sign": lambda h, c: jwt.encode(h, c, stranger, ["RS256"])},
        "a key that is nowhere": {"header": {"kid": "nowhere"}},
        "no token": {"sign": lambda h, c: "a.b"},
    }


async def test_an_id_token_that_is_not_exactly_what_was_asked_for_begins_no_session(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    async with visiting(home) as visitor:
        for name, wrong in wrong_answers(provider).items():
            before = dict(vars(provider))
            vars(provider).update(wrong)
            status, text = await visitor.sign_in()
            assert (status, "(KA-OIDC)" in text, "Set-Cookie" in text) == (403, True, False), (name, text)
            vars(provider).pop("sign", None)
            vars(provider).update(before)
            assert '<meta name="csrf"' not in await visitor.sees(), name
        assert (await visitor.sign_in())[0] == 200, "and one that is begins one"


async def test_an_answer_counts_in_the_browser_that_asked_for_it_and_once(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    async with visiting(home) as visitor, visiting_too(visitor) as other:
        back = await visitor.back()
        assert await refusal(other, back), "another browser: the attacker's own answer, as a link"
        await other.back()
        assert await refusal(other, back), "or one that began a sign-in of its own"
        assert await refusal(visitor, back.replace("state=", "state=x")), "which ends the attempt"
        assert await refusal(visitor, back)
        back = await visitor.back()
        name, value = next(iter(visitor.attempt().items()))
        assert (await visitor.get(back))[0] == 200
        status, _, text = await other.get(back, Cookie=f"{name}={value}")
        assert (status, "was used before" in text) == (403, True), "not even with the cookie"
        assert '<meta name="csrf"' not in await other.sees()
        provider.refuses = True
        assert "refused the sign-in" in (await visitor.sign_in())[1]
        provider.refuses = False
        back = await visitor.back()
        assert await refusal(visitor, f"{back}&iss=https://login.example.org"), "of another provider"


async def refusal(visitor: Visitor, url: str) -> bool:
    status, headers, text = await visitor.get(url)
    cookies = headers.getall("Set-Cookie", [])
    return (status, "(KA-OIDC)" in text) == (403, True) and all("-sign-in=" in one for one in cookies)


async def test_a_new_key_of_the_provider_is_fetched_and_what_it_says_of_itself_is_kept(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    async with visiting(home) as visitor:
        assert (await visitor.sign_in())[0] == 200
        assert (await visitor.sign_in())[0] == 200
        assert provider.asked.count("/.well-known/openid-configuration") == 1
        assert provider.asked.count("/keys") == 1
        provider.renew_key()
        assert (await visitor.sign_in())[0] == 200
        assert provider.asked.count("/keys") == 2


async def test_a_key_of_the_provider_that_cannot_be_used_leaves_the_others(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    good = provider.key.as_dict(private=False)
    curve = {"kty": "EC", "crv": "P-999", "x": "AAAA", "y": "AAAA"}
    odd = [
        None,
        {},
        {"kty": "OKP"},
        {"kty": "RSA", "n": 5},
        {"kty": []},
        curve,
        good | {"n": "!", "kid": "b"},
    ]
    async with visiting(home) as visitor:
        for keys, status in ((odd, 403), ([*odd, good], 200)):
            answer = json.dumps({"keys": keys})
            provider.instead = lambda asked, text=answer: (
                web.Response(text=text) if asked == "/keys" else None
            )
            assert (await visitor.sign_in())[0] == status


ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")


async def test_a_provider_that_is_away_or_answers_with_too_much_is_named_with_the_next_step(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    answers = {
        "/.well-known/openid-configuration": {
            "more than it should": lambda: web.Response(body=b" " * (3 << 20)),
            "no OpenID Connect": lambda: web.Response(text="<html>"),
            "names addresses": lambda: web.json_response(
                dict.fromkeys(ADDRESSES, "https://login.example/\r\nX: y") | {"issuer": provider.issuer}
            ),
            "HTTP 302": lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        },
        "/token": {"HTTP 500": lambda: web.Response(status=500)},
        "/keys": {
            "no OpenID Connect": lambda: web.json_response([]),
            "that is no OpenID": lambda: web.Response(text='{"keys":' + "[" * 100_000),
        },
    }
    async with visiting(home) as visitor:
        for path, wrong in answers.items():
            for words, answer in wrong.items():
                provider.instead = lambda asked, p=path, a=answer: a() if asked == p else None
                is_first = path.startswith("/.well")
                status, _, text = await visitor.get(
                    "/dashboard/sign-in" if is_first else await visitor.back()
                )
                assert (status, words in text, "KA-OIDC-PROVIDER" in text) == (502, True, True), text
                assert "dashboard_oidc" in text
        provider.instead = lambda _: None
        assert (await visitor.sign_in())[0] == 200


@pytest.mark.clients
async def test_a_provider_that_is_not_there_is_named_and_one_that_is_silent_is_waited_for_ten_seconds(
    home: Home,
) -> None:
    with openid() as provider:
        set_up(home, provider)
        provider.silent = "/.well-known/openid-configuration"
        async with visiting(home) as visitor:
            begun = time.monotonic()
            status, _, text = await visitor.get("/dashboard/sign-in")
            assert (status, "did not answer within 10 seconds" in text) == (502, True)
            assert time.monotonic() - begun < 25, "ten, and what a busy machine adds"
    async with visiting(home) as visitor:
        status, _, text = await visitor.get("/dashboard/sign-in")
        assert (status, "cannot be reached" in text, "KA-OIDC-PROVIDER" in text) == (502, True, True)


async def test_a_wrong_option_is_named_where_people_see_it(home: Home, provider: OpenID) -> None:
    async with visiting(home) as visitor:
        assert "Sign in with" not in await visitor.sees()
        status, _, text = await visitor.get("/dashboard/sign-in")
        assert (status, "has no sign-in by a company" in text) == (404, True)
        for words, wrong in {
            "calls itself by another address": {"issuer": f"{provider.issuer}/"},
            "does not know this gateway": {"client_secret_file": str(home.config / "kiro.json")},
            "cannot be read": {"client_secret_file": str(home.folder / "nowhere")},
        }.items():
            set_up(home, provider, **wrong)
            home.run("reload")
            status, _, text = await visitor.get("/dashboard/sign-in")
            if status == 303:
                status, text = await visitor.sign_in()
            assert (status, words in text, "KA-CONFIG" in text) == (500, True, True), text
            assert "kiro-auth reload" in text


async def test_who_is_taken_off_the_list_is_out_at_once(home: Home, provider: OpenID) -> None:
    set_up(home, provider)
    async with visiting(home) as visitor:
        assert (await visitor.sign_in())[0] == 200
        assert '<meta name="csrf"' in await visitor.sees()
        set_up(home, provider, operators=["carol@example.com"])
        home.run("reload")
        assert '<meta name="csrf"' not in await visitor.sees()


async def test_browsers_come_back_over_tls_where_a_trusted_proxy_says_so_and_never_unencrypted(
    home: Home, provider: OpenID
) -> None:
    set_up(home, provider)
    home.environment |= {"KIRO_ALLOW_HOST": "kiro.example.com", "KIRO_TRUSTED_PROXIES": "127.0.0.1"}
    async with visiting(home) as visitor:
        status, _, text = await visitor.get("/dashboard/sign-in", Host="kiro.example.com")
        assert (status, "unencrypted" in text, "trusted_proxies" in text) == (500, True, True)
        asked = {"Host": "kiro.example.com", "X-Forwarded-Proto": "https"}
        status, headers, _ = await visitor.get("/dashboard/sign-in", **asked)
        query = parse_qs(urlsplit(headers["Location"]).query)
        assert query["redirect_uri"] == ["https://kiro.example.com/dashboard/signed-in"]
        assert query["code_challenge_method"] == ["S256"]
        [cookie] = headers.getall("Set-Cookie")
        assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Secure", "Max-Age=600"))
        assert (await visitor.get("/dashboard/sign-in", Host="evil.example.com"))[0] == 403
        redirect = "https://other.example.com/dashboard/signed-in"
        set_up(home, provider, redirect=redirect)
        home.run("reload")
        _, headers, _ = await visitor.get("/dashboard/sign-in", Host="kiro.example.com")
        assert parse_qs(urlsplit(headers["Location"]).query)["redirect_uri"] == [redirect]


def test_nothing_of_the_library_is_imported_before_the_first_sign_in() -> None:
    program = "import sys, kiro_auth.dashboard.site; print({'authlib', 'joserfc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
