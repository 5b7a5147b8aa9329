"""What people and tests do to the world: the control calls, and the page where codes are confirmed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Final

from aiohttp import web

from kiro_auth.simulator import oidc
from kiro_auth.simulator.scenario import (
    Fault,
    ScenarioInvalid,
    SearchReply,
    Settings,
    User,
    converted,
    replies_from_json,
)
from kiro_auth.simulator.world import Device, World, to_json

WORLD: Final = web.AppKey("world", World)
DEVICE_PAGE: Final = "/device"

_END_OF_TIME: Final = 1000 * 365.25 * 86400

Order = Callable[[World, Any], Mapping[str, Any]]


def routes() -> list[web.RouteDef]:
    """The paths of this module."""
    return [
        web.get("/_control/{name}", _look),
        web.post("/_control/{name}", _order),
        web.get(DEVICE_PAGE, _show_page),
        web.post(DEVICE_PAGE, _decide),
    ]


async def _look(request: web.Request) -> web.Response:
    look = _LOOKS.get(request.match_info["name"])
    if look is None:
        return _not_there()
    return web.json_response(look(request.app[WORLD]))


async def _order(request: web.Request) -> web.Response:
    order = _ORDERS.get(request.match_info["name"])
    if order is None:
        return _not_there()
    try:
        body = json.loads(await request.read() or b"{}")
        return web.json_response(order(request.app[WORLD], body))
    except (ValueError, RecursionError) as error:  # not JSON, not the right shape, or nobody of that name
        return _problem(400, str(error))


def _problem(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _not_there() -> web.Response:
    return _problem(404, f"There is {', '.join(_LOOKS)} to GET and {', '.join(_ORDERS)} to POST.")


# -------------------------------------------------------------------------------------------- looks


def _calls(world: World) -> dict[str, Any]:
    return {"calls": [to_json(call) for call in world.calls]}


def _books(world: World) -> dict[str, Any]:
    """What was charged to whom for which model, reply by reply."""
    return {"books": [to_json(line) for line in world.books]}


def _state(world: World) -> dict[str, Any]:
    world.settle()
    return {
        "time": world.now(),
        "settings": to_json(world.settings),
        "users": [to_json(user) for user in world.users.values()],
        "devices": [
            {
                "region": device.region,
                "userCode": device.user_code,
                "startUrl": device.start_url,
                "status": device.status,
                "user": device.user,
            }
            for device in world.devices.values()
        ],
        "script": len(world.script),
        "faults": [to_json(fault) for fault in world.faults],
    }


def _loads(world: World) -> dict[str, Any]:
    """How many chats of each person are under way, and the most that were at a time."""
    return {"loads": {email: to_json(load) for email, load in world.loads.items()}}


_LOOKS: Final[dict[str, Callable[[World], dict[str, Any]]]] = {
    "books": _books, "calls": _calls, "loads": _loads, "state": _state,
}  # fmt: skip


# ------------------------------------------------------------------------------------------- orders


def _advance(world: World, body: Any) -> dict[str, Any]:
    seconds = _member(body, "seconds", float)
    if not 0 <= world.now() + seconds < _END_OF_TIME:  # not a number is refused as well
        raise ScenarioInvalid("`seconds` must lead to a time between 1970 and 2970")
    world.advance(seconds)
    return {"time": world.now()}


def _approve(world: World, body: Any) -> dict[str, Any]:
    device = _waiting(world, body)
    return {"user": world.approve(device, _member(body, "user", str | None)).email}


def _deny(world: World, body: Any) -> dict[str, Any]:
    _waiting(world, body).status = "denied"
    return {}


def _waiting(world: World, body: Any) -> Device:
    code = _member(body, "userCode", str)
    device = world.waiting(code)
    if device is None:
        raise ScenarioInvalid(f"no sign-in waits for the code {code}")
    return device


def _user(world: World, body: Any) -> dict[str, Any]:
    change = converted(body, dict[str, Any])
    known = world.users.get(str(change.get("email")))
    user = converted({**(to_json(known) if known else {}), **change}, User)
    world.users[user.email] = user
    return to_json(user)


def _settings(world: World, body: Any) -> dict[str, Any]:
    change = converted(body, dict[str, Any])
    world.settings = converted({**to_json(world.settings), **change}, Settings)
    return to_json(world.settings)


def _sign_in(world: World, body: Any) -> dict[str, Any]:
    """What a finished sign-in of that user holds, without a page and without a program."""
    user = _known(world, body)
    client = None
    if user.tenant:
        return _tenant_sign_in(world, user)
    if user.kind != "social":
        client = world.add_client(user.region, grants=oidc.GRANTS, issuer=None)
    pair = world.issue(user.region, user.email, client.id if client else None)
    return {
        "accessToken": pair.access,
        "refreshToken": pair.refresh,
        "expiresIn": pair.expires_in,
        "region": user.region,
        "profileArn": user.profiles[0].arn if user.profiles else None,
        "clientId": client.id if client else None,
        "clientSecret": client.secret if client else None,
        "clientSecretExpiresAt": client.expires_at if client else None,
    }


def _tenant_sign_in(world: World, user: User) -> dict[str, Any]:
    """As the tools of Kiro hold it; the token endpoint is this server's."""
    assert user.tenant
    client_id = f"client-of-{user.tenant}"
    pair = world.issue(user.tenant, user.email, client_id)
    return {
        "accessToken": pair.access,
        "refreshToken": pair.refresh,
        "expiresIn": pair.expires_in,
        "region": user.region,
        "profileArn": user.profiles[0].arn if user.profiles else None,
        "clientId": client_id,
        "tokenPath": f"/{user.tenant}/oauth2/v2.0/token",
    }


def _revoke(world: World, body: Any) -> dict[str, Any]:
    world.revoke(_known(world, body).email)
    return {}


def _script(world: World, body: Any) -> dict[str, Any]:
    world.script += replies_from_json(body)
    return {"script": len(world.script)}


def _search(world: World, body: Any) -> dict[str, Any]:
    """What the next searches of the web are answered with."""
    world.searches += converted(body, list[SearchReply])
    return {"searches": len(world.searches)}


def _fault(world: World, body: Any) -> dict[str, Any]:
    fault = converted(body, Fault)
    world.faults.append(fault)
    return to_json(fault)


def _reset(world: World, body: Any) -> dict[str, Any]:
    world.reset()
    return {}


_ORDERS: Final[dict[str, Order]] = {
    "advance": _advance,
    "approve": _approve,
    "deny": _deny,
    "user": _user,
    "settings": _settings,
    "sign-in": _sign_in,
    "revoke": _revoke,
    "script": _script,
    "search": _search,
    "fault": _fault,
    "reset": _reset,
}


def _known(world: World, body: Any) -> User:
    email = _member(body, "user", str)
    if email not in world.users:
        raise ScenarioInvalid(f"there is no user {email}")
    return world.users[email]


def _member(body: Any, name: str, wanted: Any) -> Any:
    given = converted(body, dict[str, Any]).get(name)
    try:
        return converted(given, wanted)
    except ScenarioInvalid as error:
        raise ScenarioInvalid(f"`{name}`: {error}") from error


# ------------------------------------------------------------------------------------------ the page

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Simulated sign-in</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem }}
  input, select, button {{ font: inherit; padding: .3rem .6rem; margin: .3rem .3rem .3rem 0 }}
  .code {{ font: 2rem ui-monospace, monospace; letter-spacing: .1em }}
</style>
<h1>Simulated sign-in</h1>
{content}
</html>
"""
_ASK: Final = """<form method="get">
<label>The code that your program shows:
<input name="user_code" autofocus required></label> <button>Next</button></form>"""
_CONFIRM: Final = """<p class="code">{code}</p>
<p>A program wants to use Kiro in your name. Start URL: {start_url}, region {region}.</p>
<form method="post"><input type="hidden" name="user_code" value="{code}">
<label>Sign in as <select name="user">{users}</select></label><br>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button></form>"""


async def _show_page(request: web.Request) -> web.Response:
    world, code = request.app[WORLD], request.query.get("user_code", "")
    if not code:
        return _page(_ASK)
    device = world.waiting(code)
    if device is None:
        return _page(f"<p>No sign-in waits for the code {escape(code)}.</p>{_ASK}", 404)
    members = world.members(device.start_url, device.region)
    content = _CONFIRM.format(
        code=device.user_code,
        start_url=escape(device.start_url),
        region=device.region,
        users="".join(f"<option>{escape(user.email)}</option>" for user in members),
    )
    return _page(content)


async def _decide(request: web.Request) -> web.Response:
    world, form = request.app[WORLD], await request.post()
    code = str(form.get("user_code", ""))
    device = world.waiting(code)
    if device is None:
        return _page(f"<p>No sign-in waits for the code {escape(code)}.</p>{_ASK}", 404)
    if form.get("decision") != "approve":
        device.status = "denied"
        return _page("<p>Denied. You can close this page.</p>")
    try:
        user = world.approve(device, str(form["user"]) if form.get("user") else None)
    except ValueError as error:
        return _page(f"<p>{escape(str(error))}</p>", 400)
    return _page(f"<p>Signed in as {escape(user.email)}. You can close this page.</p>")


def _page(content: str, status: int = 200) -> web.Response:
    return web.Response(text=_PAGE.format(content=content), content_type="text/html", status=status)
