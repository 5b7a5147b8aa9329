"""The OpenAPI description of the gateway, docs/openapi.json.

Types stand where the gateway refuses anything else; a field without one takes whatever a client sends.  What
becomes of each field is read from the tables of docs/apis.md, and which statuses there are from the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from kiro_auth import __version__
from kiro_auth.dashboard.addresses import EVENTS, FOLDER, NEW_LINK, SAME_USER, SIGN_IN, SIGNED_IN
from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.gateway.body import MAX_BODY
from kiro_auth.gateway.paths import COMPACT, SURFACES
from kiro_auth.gateway.presence import HEALTH, READY
from kiro_auth.gateway.proof import NONCE_HEADER, PATH, PROOF_HEADER
from kiro_auth.kinds import KINDS
from kiro_auth.metrics.addresses import PATH as METRICS
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.history import message
from kiro_auth.surfaces.openai import compact
from kiro_auth.surfaces.surface import Surface

Schema: TypeAlias = dict[str, Any]

APIS_PAGE: Final = Path(__file__).parents[1] / "docs" / "apis.md"
MESSAGES, COMPLETIONS, RESPONSES = SURFACES
COUNT: Final = "/v1/messages/count_tokens"
_TITLES: Final = {
    MESSAGES: "Anthropic Messages",
    COMPLETIONS: "OpenAI Chat Completions",
    RESPONSES: "OpenAI Responses",
}
_ROLES: Final = ("user", "assistant", "system", "developer", "tool", "function")

TEXT: Final[Schema] = {"type": "string"}
NAME: Final[Schema] = {"type": "string", "minLength": 1}
COUNTED: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
_HTML: Final[Schema] = {"text/html": {"schema": TEXT}}
TOKENS: Final[Schema] = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": "^-?[0-9]+$"}, {"type": "null"}]
}


def described() -> Schema:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "opencode-kiro-auth",
            "version": __version__,
            "description": "The gateway on this machine. docs/apis.md says more of each field.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:4000", "description": "`kiro-auth status` says where"}],
        "security": [{"key": []}, {"bearer": []}],
        "paths": {**_apis(), **_models(), **_open(), **_control(), **_watching()},
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "kiro-auth-4000",
                    "description": "Of the dashboard; behind the name stands the gateway's port",
                },
            },
            "schemas": _schemas(),
        },
    }


# ------------------------------------------------------------------------------------------- the APIs


def _apis() -> Schema:
    replies = {MESSAGES: "Message", COMPLETIONS: "Completion", RESPONSES: "Response"}
    paths = {
        path: {"post": _turn(_TITLES[path], path, replies[path], SURFACES[path], streamed=True)}
        for path in SURFACES
    }
    counted = _turn("Estimate the tokens of a request, without a call to Kiro", MESSAGES, "", anthropic)
    counted["responses"]["200"] = _json("The estimate", _object({"input_tokens": COUNTED}))
    compacted = _turn("Compaction of a history, for Codex", RESPONSES, "Compaction", compact, streamed=True)
    return {**paths, COUNT: {"post": counted}, COMPACT: {"post": compacted}}


def _turn(summary: str, path: str, reply: str, surface: Surface, *, streamed: bool = False) -> Schema:
    content = {"application/json": {"schema": _ref(reply)}}
    if streamed:
        content["text/event-stream"] = {"schema": _object({"data": NAME})}
    headers = {"x-kiro-model": {"description": "Which of Kiro's models the answer is from", "schema": TEXT}}
    return {
        "summary": summary,
        "parameters": [_header("x-kiro-account", "The one account that serves the request")],
        "requestBody": {
            "required": True,
            "description": f"Up to {MAX_BODY >> 20} MiB, as it is or packed with gzip, deflate, br or zstd.",
            "content": {"application/json": {"schema": _request(path)}},
        },
        "responses": {
            "200": {"description": "The answer, streamed or whole", "headers": headers, "content": content},
            **_failures(surface),
        },
    }


def _request(path: str) -> Schema:
    """Every field of the page that is not refused, with a type where another one is refused."""
    typed = {**_COMMON, **_FIELDS[path]}
    words = fields_of(path)
    properties = {
        name: {**typed.get(name, {}), "description": text}
        for name, text in words.items()
        if not text.startswith("refused")
    }
    whole: Schema = {"type": "object", "required": ["model"], "properties": properties}
    if path == COMPLETIONS:  # a body of Responses is read there, too
        of_responses = {
            "input": _FIELDS[RESPONSES]["input"],
            "messages": {"type": "null"},
        }
        own = {"messages": _COMMON["messages"], "input": {"type": "null"}}
        either = [{"required": [next(iter(one))], "properties": one} for one in (own, of_responses)]
        return {**whole, "anyOf": either}
    return {**whole, "required": ["model", "input" if path == RESPONSES else "messages"]}


def fields_of(path: str) -> dict[str, str]:
    """What docs/apis.md says of each field of an API, by the field's first name."""
    part = APIS_PAGE.read_text().split(f"\n## {_TITLES[path]}\n", 1)[1].split("\n## ", 1)[0]
    fields: dict[str, str] = {}
    for names, fate, note in re.findall(r"^\| (`.*?) \| (\w[\w ]*?) \| ?(.*?) ?\|$", part, re.MULTILINE):
        said = f"{fate}: {note}" if note else fate
        for name in re.findall(r"`([^`]+)`", names):
            first, _, behind = name.partition(".")
            if behind:
                fields[first] = f"{fields[first]}; {behind} {said}" if first in fields else f"{behind} {said}"
            else:
                fields[name] = said
    return fields


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _tools() -> Schema:
    """A function with its name, within `function` or beside it, or what is no function."""
    named = {"type": "object", "required": ["name"], "properties": {"name": NAME}}
    other = {"type": "string", "not": {"enum": ["function", "custom"]}}
    no_function = {"not": {"anyOf": [{"required": ["function"]}, {"required": ["name"]}]}}
    kinds = [
        {"type": "object", "required": ["function"], "properties": {"function": named}},
        {**named, "not": {"required": ["function"]}},
        {"type": "object", "required": ["type"], "properties": {"type": other}, **no_function},
    ]
    return _or_null({"type": "array", "items": {"anyOf": kinds}})


def _messages(*refused: str) -> Schema:
    """Words alone, something with a role, or an item that says what it is by its type, but none of these."""
    roles = [role for role in _ROLES if message({"role": role}, "")]
    spoken = {"type": "object", "required": ["role"], "properties": {"role": {"enum": roles}}}
    typed = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string", "not": {"enum": ["message", *refused]}}},
        "not": {"required": ["role"]},
    }
    return {"type": "array", "minItems": 1, "items": {"anyOf": [TEXT, spoken, typed]}}


_FORMAT: Final = _or_null(
    {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": ["text", "json_object", "json_schema", None]}},
    }
)
_ITEMS: Final[Schema] = {"anyOf": [NAME, _messages("configuration_update")]}
_COMMON: Final[Mapping[str, Schema]] = {
    "model": {"type": "string", "pattern": r"\S"},
    "stream": _or_null(FLAG),
    "messages": _messages(),
    "thinkingConfig": _or_null({"type": "object"}),
    "tools": _tools(),
    "tool_choice": {
        "anyOf": [
            {"enum": ["auto", "none", "required", "any", None]},
            {"type": "object", "required": ["type"], "properties": {"type": TEXT}},
        ]
    },
    "output_format": _FORMAT,
    "response_format": _FORMAT,
    "max_tokens": TOKENS,
    "max_completion_tokens": TOKENS,
    "max_output_tokens": TOKENS,
    "prompt_cache_key": _or_null(TEXT),
}
_FIELDS: Final[Mapping[str, Mapping[str, Schema]]] = {
    MESSAGES: {
        "thinking": _or_null({"type": "object", "properties": {"type": TEXT}}),
        "stop_sequences": _or_null({"type": "array", "items": TEXT}),
        "metadata": _or_null({"type": "object", "properties": {"user_id": _or_null(TEXT)}}),
        "output_config": _or_null(
            {"type": "object", "properties": {"effort": _or_null(TEXT), "format": _FORMAT}}
        ),
    },
    COMPLETIONS: {
        "reasoning_effort": _or_null(TEXT),
        "stop": {"anyOf": [TEXT, {"type": "array", "items": TEXT}, {"type": "null"}]},
        "messages": _or_null({"type": "array"}),
        "input": _or_null(_ITEMS),
        "stream_options": _or_null({"type": "object", "properties": {"include_usage": _or_null(FLAG)}}),
    },
    RESPONSES: {
        "input": _ITEMS,
        "text": _or_null({"type": "object", "properties": {"format": _FORMAT}}),
        "instructions": _or_null(TEXT),
        "reasoning": _or_null({"type": "object", "properties": {"effort": _or_null(TEXT)}}),
    },
}


# ------------------------------------------------------------------------------------- what else there is


def _models() -> Schema:
    account = _header("x-kiro-account", "The one account whose models are listed")
    for_codex = {
        "name": "client_version",
        "in": "query",
        "schema": TEXT,
        "description": "Codex's own list beside",
    }
    name = {"name": "id", "in": "path", "required": True, "schema": NAME}
    return {
        "/v1/models": {
            "get": _get("The models of your accounts", _ref("Models"), anthropic, [account, for_codex])
        },
        "/v1/models/{id}": {"get": _get("One of them", _ref("Model"), anthropic, [account, name])},
    }


def _open() -> Schema:
    """What is answered without a key."""
    health = _get(
        "Whether the gateway is there", _object({"status": {"const": "ok"}, "version": TEXT}), anthropic
    )
    paths: Schema = {path: {"get": {**health, "security": []}} for path in HEALTH}
    page = {**health["responses"]["200"]["content"], **_HTML}
    answers = {**health["responses"], "200": {**health["responses"]["200"], "content": page}}
    paths["/"] = {"get": {**health, "security": [], "responses": answers}}
    nonce = {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,128}$"}
    proof = {
        "summary": "Has the gateway prove to a program of yours that it is yours",
        "security": [],
        "parameters": [{**_header(NONCE_HEADER, "Made by the program"), "required": True, "schema": nonce}],
        "responses": {
            "204": {
                "description": "The gateway's nonce, and its proof",
                "headers": {
                    name: {"required": True, "schema": TEXT} for name in (NONCE_HEADER, PROOF_HEADER)
                },
            },
            **_failures(anthropic),
        },
    }
    ready = _get("Whether new requests may come", _object({"status": {"const": "ready"}}), anthropic)
    ready["responses"]["503"] = _json(
        "It begins, it ends, or it cannot read its store",
        _object({"status": {"enum": ["starting", "draining", "no store"]}}),
    )
    return {**paths, READY: {"get": {**ready, "security": []}}, PATH: {"get": proof}}


def _control() -> Schema:
    after = {
        "name": "after",
        "in": "query",
        "schema": TEXT,
        "description": "The number of the last one shown",
    }
    number = {"name": "id", "in": "path", "required": True, "schema": NAME}
    wanted = {
        "type": "object",
        "properties": {
            "method": {"enum": ["builder-id", "idc"], "default": "builder-id"},
            "startUrl": _or_null(TEXT),
            "region": _or_null(TEXT),
        },
    }
    login = _get("Start a sign-in", _ref("SignIn"), None)
    login["requestBody"] = {"content": {"application/json": {"schema": wanted}}}
    orders = {
        "/kiro/stay": "Do not end unused",
        "/kiro/new-key": "Take the other key that is kept from now on",
        "/kiro/retire": "Give the place to a newer version",
        "/kiro/stop": "End; answers under way are finished",
    }
    names = {"type": "array", "items": NAME}
    reloaded = _json("What changed", _object({"changed": names, "needsRestart": names}))
    refused = _object({"error": _object({"code": NAME, "message": NAME}), "problems": names})
    wrong = _json("What is wrong; nothing has changed", refused)
    reload = {
        "summary": "Read the options anew",
        "responses": {**_failures(anthropic), "200": reloaded, "400": wrong},
    }
    # An account that cannot be read, and why.
    unread = _object({"id": _or_null(TEXT), "code": NAME, "message": NAME, "nextStep": _or_null(TEXT)})
    accounts = _object({**_listed("Account")["properties"], "unreadable": {"type": "array", "items": unread}})
    waiting = {"type": "array", "items": _object({"account": NAME, "until": _or_null(TEXT)})}
    done = {"204": {"description": "It will"}, **_failures(anthropic)}
    return {
        "/kiro/login": {"post": login},
        "/kiro/login/{id}": {"get": _get("How a sign-in goes", _ref("SignInStatus"), None, [number])},
        "/kiro/me": {"get": _get("What the holder of a key may see of itself", _ref("Me"), anthropic)},
        "/kiro/accounts": {"get": _get("The accounts and their state", accounts, None)},
        "/kiro/usage": {"get": _get("Usage of the accounts", _listed("AccountUsage"), None)},
        "/kiro/waiting": {"get": _get("Who waits for a reset", _object({"waiting": waiting}), None)},
        "/kiro/notices": {"get": _get("What people should hear of", _ref("Notices"), None, [after])},
        "/kiro/reload": {"post": reload, "get": {**reload, "summary": "What that would change"}},
        **{path: {"post": {"summary": words, "responses": done}} for path, words in orders.items()},
    }


def _watching() -> Schema:
    """The figures for Prometheus, and the dashboard with what its page asks for."""
    figures = {
        "summary": "Figures for Prometheus",
        "responses": {
            "200": {
                "description": "In either of its formats",
                "content": {
                    kind: {"schema": TEXT} for kind in ("text/plain", "application/openmetrics-text")
                },
            },
            **_failures(anthropic),
        },
    }
    user = {
        "name": "user",
        "in": "query",
        "schema": {"const": SAME_USER},
        "description": "For browsers of the user who asks alone, where the gateway sees who that is",
    }
    made = _object({"path": NAME, "seconds": NUMBER})
    link = _get("A link to the dashboard, good once", made, anthropic, [user])
    led = {
        "303": {"description": "Gives the cookie"},
        "403": {"description": "It is for another user", "content": _HTML},
    }
    follow = {
        **_page_answer("Where such a link leads", led, "token"),
        "security": [],
    }
    follow["responses"]["410"] = {"description": "It was followed before, or is too old", "content": _HTML}
    file = {**_page_answer("A file of the page", {"200": {"description": "It"}}, "name"), "security": []}
    stream = {"200": {"description": "Changes", "content": {"text/event-stream": {"schema": TEXT}}}}
    done = {"200": _json("What was done", {"type": "object"})}
    account = f"{FOLDER}accounts/{{id}}/{{action}}"
    return {
        METRICS: {"get": figures},
        NEW_LINK: {"post": link},
        f"{FOLDER}open/{{token}}": {"get": follow},
        f"{FOLDER}open": {"post": _form("Open the page of a client key's holder", "key", refuses=True)},
        SIGN_IN: {"get": _company("Begin the sign-in by the company", "303", "Leads to its provider")},
        SIGNED_IN: {"get": _company("Where the provider leads back to", "200", "Gives the cookie")},
        f"{FOLDER}leave": {"post": _form("End the session of such a page", "csrf")},
        f"{FOLDER}static/{{name}}": {"get": file},
        EVENTS: {"get": _page_answer("What the page shows, as it changes", stream)},
        f"{FOLDER}spending": {"get": _page_answer("What spends the credits", done)},
        f"{FOLDER}sign-ins/{{id}}": {"get": _page_answer("How a sign-in goes", done, "id")},
        account: {"post": _page_answer("Change an account", done, "id", "action")},
        f"{FOLDER}close": {"post": _page_answer("End the session", done)},
    }


def _form(summary: str, field: str, *, refuses: bool = False) -> Schema:
    """What a form of the dashboard sends; only the gateway's own pages have it."""
    failures = _failures(anthropic)
    if refuses:
        failures["403"] = {
            "description": f"It is no client key that is good; {failures['403']['description']}",
            "content": {**_HTML, **failures["403"]["content"]},
        }
    else:
        failures["403"] = _json("Another page asked for it", _ref("PageError"))
    fields = {"application/x-www-form-urlencoded": {"schema": _object({field: TEXT})}}
    return {
        "summary": summary,
        "security": [],
        "requestBody": {"content": fields},
        "responses": {**failures, "303": {"description": "Leads to the page"}},
    }


def _company(summary: str, status: str, answer: str) -> Schema:
    """A page of the company's sign-in; what goes wrong is a page as well."""
    failures = _failures(anthropic)
    pages = {
        "403": "The sign-in is refused",
        "404": "There is no such sign-in",
        "500": "The option for it is wrong",
        "502": "The provider does not answer as it should",
    }
    for code, words in pages.items():
        content = failures.get(code, {}).get("content", {})
        failures[code] = {"description": words, "content": {**_HTML, **content}}
    content = {"content": _HTML} if status == "200" else {}
    failures[status] = {"description": answer, **content}
    return {"summary": summary, "security": [], "responses": failures}


def _page_answer(summary: str, answers: Schema, *in_path: str) -> Schema:
    """An operation of the dashboard's page, which alone has its cookie."""
    refusals = {
        "401": "The session has ended",
        "403": "Another page asked for it",
        "404": "There is no such thing",
        "409": "It cannot be done",
    }
    return {
        "summary": summary,
        "security": [{"session": []}],
        "parameters": [{"name": name, "in": "path", "required": True, "schema": NAME} for name in in_path],
        "responses": {
            **_failures(anthropic),
            **{status: _json(words, _ref("PageError")) for status, words in refusals.items()},
            **answers,
        },
    }


def _get(summary: str, schema: Schema, surface: Surface | None, parameters: Sequence[Schema] = ()) -> Schema:
    """An operation that answers JSON; without a surface its failures have the shape of the control API."""
    failures = _failures(anthropic)
    if surface is None:
        either = {"anyOf": [_ref("ControlError"), _ref("MessagesError")]}
        failures["400"] = _json(failures["400"]["description"], either)
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": _json(summary, schema), **failures},
    }


# ------------------------------------------------------------------------------------------- the shapes


def _failures(surface: Surface) -> Schema:
    """Each status that a failure has in this API, with the codes that have it."""
    shape = "MessagesError" if surface is anthropic else "OpenAIError"
    codes: dict[str, list[str]] = {"404": [], "405": [], "429": ["KA-THROTTLE"]}
    for code in CATALOGUE:
        codes.setdefault(str(surface.encode_failure(Failure(code=code, message="")).status), []).append(code)
    return {
        status: _json(", ".join(sorted(set(told))) or "There is no such thing here", _ref(shape))
        for status, told in sorted(codes.items())
    }


def _schemas() -> dict[str, Schema]:
    usage = {"input_tokens": COUNTED, "output_tokens": COUNTED}
    error = {"type": TEXT, "message": NAME}
    openai_error = {**error, "param": {"type": "null"}, "code": _or_null(TEXT)}
    return {
        "Message": _object(
            {
                "id": NAME,
                "type": {"const": "message"},
                "role": {"const": "assistant"},
                "model": TEXT,
                "content": {"type": "array", "items": _object({"type": NAME})},
                "stop_reason": _or_null(NAME),
                "stop_sequence": _or_null(TEXT),
                "usage": _object(usage),
            }
        ),
        "Completion": _object(
            {
                "id": NAME,
                "object": {"const": "chat.completion"},
                "created": COUNTED,
                "model": TEXT,
                "choices": {"type": "array", "minItems": 1, "maxItems": 1, "items": _ref("Choice")},
                "usage": _object(
                    {"prompt_tokens": COUNTED, "completion_tokens": COUNTED, "total_tokens": COUNTED}
                ),
            }
        ),
        "Choice": _object(
            {
                "index": {"const": 0},
                "message": _object({"role": {"const": "assistant"}, "content": _or_null(TEXT)}),
                "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
            }
        ),
        "Response": _object(
            {
                "id": NAME,
                "object": {"const": "response"},
                "created_at": COUNTED,
                "status": {"enum": ["completed", "incomplete", "failed"]},
                "model": TEXT,
                "output": {"type": "array", "items": _object({"type": NAME})},
                "usage": _or_null(_object({**usage, "total_tokens": COUNTED})),
            }
        ),
        "Compaction": _object(
            {
                "id": NAME,
                "object": NAME,
                "created_at": COUNTED,
                "output": {"type": "array"},
                "usage": _object(usage),
            }
        ),
        "Models": _object(
            {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _ref("Model")},
                "has_more": {"const": False},
                "first_id": _or_null(NAME),
                "last_id": _or_null(NAME),
            }
        ),
        "Model": _object(
            {
                "id": NAME,
                "object": {"const": "model"},
                "type": {"const": "model"},
                "display_name": NAME,
                "owned_by": NAME,
                "created": COUNTED,
                "max_input_tokens": COUNTED,
                "max_output_tokens": COUNTED,
                "input_modalities": {"type": "array", "items": {"enum": ["document", "image", "text"]}},
                "reasoning": FLAG,
            }
        ),
        "SignIn": _object({"id": NAME, "url": NAME, "code": NAME, "notice": _or_null(NAME)}),
        "SignInStatus": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"enum": ["pending", "done", "failed"]},
                "message": TEXT,
                "account": TEXT,
            },
        },
        "Account": _object(
            {
                "id": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
                "name": NAME,
                "kind": {"enum": sorted(KINDS)},
                "state": {"enum": ["ready", "cooling", "quota", "suspended", "sign-in", "disabled"]},
                "stateReason": _or_null(TEXT),
                "nextStep": _or_null(TEXT),
            }
        ),
        "Me": _object(
            {
                "id": NAME,
                "name": NAME,
                "expires": _or_null(TEXT),
                "models": _or_null({"type": "array", "items": NAME}),
                "budget": _or_null({"type": "object"}),
                "concurrency": _or_null({"type": "object"}),
                "usage": _or_null({"type": "object"}),
                "accounts": {"type": "array", "items": _object({"id": NAME, "name": NAME})},
            }
        ),
        "AccountUsage": {
            "type": "object",
            "required": ["id", "account"],
            "properties": {
                "id": NAME,
                "account": NAME,
                "usedCount": _or_null(NUMBER),
                "limitCount": _or_null(NUMBER),
            },
        },
        "Notices": _object(
            {
                "last": COUNTED,
                "notices": {
                    "type": "array",
                    "items": _object(
                        {
                            "number": COUNTED,
                            "message": NAME,
                            "variant": {"enum": ["info", "warning", "error"]},
                        }
                    ),
                },
            }
        ),
        "MessagesError": _object({"type": {"const": "error"}, "error": _object(error)}),
        "OpenAIError": _object({"error": _object(openai_error)}),
        "PageError": {"anyOf": [_object({"message": NAME}), _ref("MessagesError")]},
        "ControlError": _object({"error": _object({"code": NAME, "message": NAME})}),
    }


def _object(properties: Mapping[str, Schema]) -> Schema:
    """An object that has all of these members, and maybe others."""
    return {"type": "object", "required": list(properties), "properties": dict(properties)}


def _listed(name: str) -> Schema:
    return _object({"accounts": {"type": "array", "items": _ref(name)}})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(words: str, schema: Schema) -> Schema:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _header(name: str, words: str) -> Schema:
    return {"name": name, "in": "header", "description": words, "schema": TEXT}
