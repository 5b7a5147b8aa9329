"""Options: every one by file and by environment, in and out of its range, and in the documentation."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kiro_auth.addresses import acceptable_url
from kiro_auth.config import load
from kiro_auth.config_file import schema
from kiro_auth.failures import ConfigFailed
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.options import ENDPOINT, OPTIONS, ROLES, WITHOUT_EFFECT

DOCUMENTATION = Path(__file__).parent.parent / "docs" / "configuration.md"

GOOD_AND_BAD: dict[str, tuple[Any, list[Any]]] = {
    "account_selection_strategy": ("sticky", ["fastest", 3, None]),
    "default_region": ("us-west-2", ["mars", "us-east-1.evil.example", 1]),
    "rate_limit_retry_delay_ms": (1000, [999, 60001, "soon", True]),
    "rate_limit_max_retries": (0, [-1, 11, 1.5, "1"]),
    "max_request_iterations": (1000, [9, 1001]),
    "request_timeout_ms": (60000, [59999, 600001]),
    "token_expiry_buffer_ms": (300000, [29999, 300001]),
    "usage_sync_max_retries": (5, [6, -1]),
    "auth_server_port_start": (1024, [1023, 65536]),
    "auth_server_port_range": (100, [0, 101]),
    "usage_tracking_enabled": (False, ["maybe", "false", 1]),
    "enable_log_api_request": (True, ["perhaps"]),
    "sso_start_url": ("https://d-1.awsapps.com/start", ["http://d-1.awsapps.com/start", "d-1", 5]),
    "sso_region": ("eu-north-1", ["eu"]),
    "sso_profile_arn": (
        "arn:aws:codewhisperer:eu-central-1:123456789012:profile/ABCD",
        ["Team B", "arn:aws:iam::123456789012:role/a", 1],
    ),
    "toast_level": ("warnings", ["loud", 1]),
    "max_concurrent_per_account": (100, [0, 101]),
    "drain_seconds": (600, [-1, 601, "soon"]),
    "grace_seconds": (3600, [-1, 3601]),
    "tls_cert": ("/etc/tls/tls.crt", ["", " ", 5]),
    "tls_key": ("/etc/tls/tls.key", ["", 5]),
    "trusted_proxies": (["10.0.0.0/8", "::1"], ["10.0.0.1", ["proxy"], ["10.0.0.1/8"], [1], ["1.2.3"]]),
    "allow_host": (["host.docker.internal", "box"], ["box", ["box:4000"], ["http://box"], ["*"], [1], [""]]),
    "allow_origin": (
        ["app://notes", "tauri://localhost", "http://localhost:3000"],
        ["app://notes", ["*"], ["null"], ["app://notes/"], ["https://*.example"], ["notes"], [None]],
    ),
}

GOOD_AND_BAD |= {
    "model_aliases": (
        {"fast": "claude-haiku-4-5", "Best": "claude-opus-4-6-thinking"},
        [["fast"], {"fast": 1}, {"": "x"}, {"fast": ""}, "fast=claude-haiku-4-5"],
    ),
    "model_fallback": (
        [
            {"model": "claude-opus-4-6", "on": ["KA-CAPACITY", "KA-MODEL"], "use": "claude-sonnet-4-6"},
            {"model": "*", "on": ["KA-OVERFLOW"], "use": "claude-opus-4-6"},
        ],
        [
            "claude-opus-4-6",
            {"model": "a", "on": ["KA-MODEL"], "use": "b"},
            [{"model": "a", "use": "b"}],
            [{"model": "a", "on": [], "use": "b"}],
            [{"model": "a", "on": ["KA-QUOTA"], "use": "b"}],
            [{"model": "a", "on": "KA-MODEL", "use": "b"}],
            [{"model": "a", "on": ["KA-MODEL"], "use": ""}],
            [{"model": "a", "on": ["KA-MODEL"], "use": "b", "until": 3}],
            [{"model": "a", "on": [["KA-MODEL"]], "use": "b"}],
        ],
    ),
}


GOOD_AND_BAD |= {
    "store": (
        "postgresql://kiro@db.example.com:5432/kiro?sslmode=verify-full",
        [
            "file",
            "sqlite3",
            5,
            "mysql://a/b",
            "postgresql://h/n?password=secret-of-many-words",
            "postgres:/a",
        ],
    ),
    "secrets": ("keyring", ["keychain", True, ""]),
    "ledger": (False, ["no", 0]),
    "ledger_projects": (False, ["no", 0]),
    "budgets": (
        {"day": 5, "session": 0.5, "project": 2, "key": 3},
        [5, {"day": 0}, {"day": -1}, {"day": "5"}, {"day": True}, {"day": None}, {"month": 5}, ["day"]],
    ),
    "share_accounts": (True, ["perhaps"]),
    "reserve": (10, [-1, 91, "10 %"]),
    "wait_for_reset": (12, [-1, 73, 0.5, "12 h"]),
    "thrift": (True, ["yes", 1]),
    "toast_credits": (True, ["yes", 1]),
    "model_rates": (True, ["yes", 1]),
}
GOOD_AND_BAD |= {
    "metrics_access": ("open", ["closed", True]),
    "dashboard_oidc": (
        {
            "issuer": "https://login.example.com/tenant",
            "client_id": "kiro",
            "client_secret_file": "/etc/kiro/oidc.secret",
            "operators": ["anna@example.com"],
            "holders": {"bob@example.com": "bob"},
            "claim": "email",
            "redirect": "https://kiro.example.com/dashboard/signed-in",
        },
        [
            "https://login.example.com",
            {"issuer": "https://login.example.com"},
            {"client_id": "kiro"},
            {"issuer": "http://login.example.com", "client_id": "kiro"},
            {"issuer": "https://login.example.com?a", "client_id": "kiro"},
            {"issuer": "https://login.example.com", "client_id": "kiro", "operator": ["a"]},
            {"issuer": "https://login.example.com", "client_id": "kiro", "operators": "anna@example.com"},
            {"issuer": "https://login.example.com", "client_id": "kiro", "operators": [1]},
            {"issuer": "https://login.example.com", "client_id": "kiro", "holders": ["bob"]},
            {"issuer": "https://login.example.com", "client_id": "kiro", "holders": {"bob": ""}},
            {"issuer": "https://login.example.com", "client_id": "kiro", "redirect": "https://a/b"},
            {"issuer": "https://a", "client_id": "a", "redirect": "http://b/dashboard/signed-in"},
        ],
    ),
    "update_check": (False, ["never", 1]),
    "update_index": ("https://index.example/json", ["http://index.example/json", "index", 1]),
}


def load_with(tmp_path: Path, text: str | None = None, **environment: str) -> Any:
    if text is not None:
        (tmp_path / "kiro.json").write_text(text)
    return load(environment=environment, folder=tmp_path)


def in_a_variable(value: Any) -> str:
    match value:
        case [str(), *_]:
            return ", ".join(value)
        case list() | dict():
            return json.dumps(value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def test_every_option_is_tested_here() -> None:
    assert {option.name for option in OPTIONS} == set(GOOD_AND_BAD)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_good_value_counts_from_the_file_and_from_the_environment(tmp_path: Path, option: Any) -> None:
    good, _ = GOOD_AND_BAD[option.name]

    from_file = load_with(tmp_path, json.dumps({option.name: good}))
    text = in_a_variable(good)
    from_environment = load_with(tmp_path, "{}", **{option.variable: text})

    assert (getattr(from_file, option.name), from_file.problems) == (good, ())
    assert (getattr(from_environment, option.name), from_environment.problems) == (good, ())


@pytest.mark.parametrize(
    ("option", "bad"),
    [pytest.param(o, bad, id=f"{o.name} {bad!r}") for o in OPTIONS for bad in GOOD_AND_BAD[o.name][1]],
)
def test_a_bad_value_is_refused_by_name_and_the_rest_still_holds(
    tmp_path: Path, option: Any, bad: Any
) -> None:
    other = "rate_limit_max_retries" if option.name != "rate_limit_max_retries" else "usage_sync_max_retries"

    config = load_with(tmp_path, json.dumps({option.name: bad, other: 4}))

    assert getattr(config, option.name) == option.default
    assert getattr(config, other) == 4
    [problem] = config.problems
    assert problem.code == "KA-CONFIG"
    assert option.name in problem.message
    assert option.kind.allowed in problem.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "\udcff") for name in GOOD_AND_BAD),
        ("allow_origin", "app://\udcff"),
        ("sso_profile_arn", "arn:aws:codewhisperer:eu-central-1:123456789012:profile/\udcff"),
        *((name, text) for name in ("model_aliases", "model_fallback") for text in ("[" * 100_000, "{", '"')),
        ("model_aliases", '{"a": "\udcff"}'),
    ],
)
def test_a_variable_that_holds_nonsense_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    option = next(option for option in OPTIONS if option.name == name)

    config = load_with(tmp_path, **{option.variable: text})

    assert getattr(config, name) == option.default
    assert [option.variable in problem.message for problem in config.problems] == [True]


def test_a_relative_path_counts_from_the_file_that_it_stands_in_and_in_a_variable_from_the_folder_of_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "day").mkdir()
    monkeypatch.chdir(tmp_path / "day")
    company = {"issuer": "https://id.example.com", "client_id": "kiro", "client_secret_file": "oidc.secret"}
    (tmp_path / "kiro.json").write_text(
        json.dumps({"tls_cert": "tls/cert.pem", "tls_key": "/etc/key.pem", "dashboard_oidc": company})
    )

    of_file = load_with(tmp_path)
    of_variable = load_with(
        tmp_path, KIRO_TLS_CERT="cert.pem", KIRO_TLS_KEY="/k", KIRO_DASHBOARD_OIDC=json.dumps(company)
    )

    assert (of_file.tls_cert, of_file.tls_key) == (str(tmp_path / "tls" / "cert.pem"), "/etc/key.pem")
    assert (of_file.dashboard_oidc or {})["client_secret_file"] == str(tmp_path / "oidc.secret")
    assert (of_variable.tls_cert, of_variable.tls_key) == (str(tmp_path / "day" / "cert.pem"), "/k")
    [problem] = of_variable.problems
    assert "KIRO_DASHBOARD_OIDC" in problem.message
    assert "client_secret_file with its whole path" in problem.sentence()


def test_objects_in_a_variable_may_have_several_lines(tmp_path: Path) -> None:
    aliases = {"fast": "claude-haiku-4-5", "größer": "claude-opus-4-6"}

    config = load_with(tmp_path, KIRO_MODEL_ALIASES=json.dumps(aliases, indent=2, ensure_ascii=False))

    assert (config.model_aliases, config.problems) == (aliases, ())


@pytest.mark.parametrize("text", ["box\tcabin\n", "box, cabin", "box cabin", " box,cabin, ", ",box,,cabin"])
def test_the_entries_of_a_list_in_a_variable_stand_between_any_commas_and_spaces(
    tmp_path: Path, text: str
) -> None:
    config = load_with(tmp_path, KIRO_ALLOW_HOST=text)

    assert (config.allow_host, config.problems) == (["box", "cabin"], ())


def test_the_environment_counts_over_the_file_and_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "kiro.json").write_text('{"rate_limit_max_retries": 1, "usage_sync_max_retries": 1}')

    config = load(environment={"KIRO_USAGE_SYNC_MAX_RETRIES": "3"}, folder=tmp_path)

    assert (config.rate_limit_max_retries, config.usage_sync_max_retries) == (1, 3)
    assert config.origins == {
        "rate_limit_max_retries": str(tmp_path / "kiro.json"),
        "usage_sync_max_retries": "KIRO_USAGE_SYNC_MAX_RETRIES",
    }


@pytest.mark.parametrize("text", ["", "  ", '{"toast_level": "none"}', '// off\n{"toast_level": "none",}'])
def test_a_byte_order_mark_before_the_options_is_skipped(tmp_path: Path, text: str) -> None:
    (tmp_path / "kiro.json").write_text(f"\ufeff{text}", encoding="utf-8")

    config = load(environment={}, folder=tmp_path)

    assert config.problems == ()
    assert (config.toast_level == "none") == ("none" in text)


def test_a_file_with_comments_and_trailing_commas_is_read(tmp_path: Path) -> None:
    config = load_with(tmp_path, '{\n // slower\n "request_timeout_ms": 60000,\n}')

    assert (config.request_timeout_ms, config.problems) == (60000, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{bad", "is not JSON: see line 1, column 5."),
        (b'{\n "a": 1,\n "b" 2\n}', "is not JSON: see line 3, column 6."),
        (b"\x00", "is not JSON: see line 1, column 1."),
        (b'{"a": "\xff"}', "is not UTF-8 text."),
        (b"[" * 100_000, "is nested too deeply."),
        (b"[1]", "must hold one JSON object."),
        (b'"x"', "must hold one JSON object."),
    ],
    ids=["open", "line-3", "nul", "latin-1", "deep", "list", "string"],
)
def test_a_broken_file_is_named_with_its_place_and_defaults_hold(
    tmp_path: Path, text: bytes, message: str
) -> None:
    path = tmp_path / "kiro.json"
    path.write_bytes(text)

    config = load(environment={}, folder=tmp_path)

    assert config.rate_limit_max_retries == 3
    assert [problem.message for problem in config.problems] == [f"{path} {message}"]


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ({"rate_limit_max_retrys": 1}, "rate_limit_max_retrys in", "Did you mean rate_limit_max_retries?"),
        ({"debug": True}, "debug in", "kiro-auth config show"),
        ({"endpoints": {"runtim": "https://a.example"}}, "endpoints.runtim in", "Did you mean runtime?"),
        ({"endpoints": {"nope": "https://a.example"}}, "endpoints.nope in", "There are runtime, management,"),
        (
            {"endpoints": {"runtime": {"url": "https://a.example", "paths": "/"}}},
            "endpoints.runtime.paths in",
            "Did you mean path?",
        ),
    ],
    ids=["option", "nothing-like-it", "role", "no-such-role", "key-of-an-entry"],
)
def test_a_name_that_is_no_option_is_told(tmp_path: Path, text: Any, message: str, remedy: str) -> None:
    [problem] = load_with(tmp_path, json.dumps(text)).problems

    assert problem.message.startswith(message)
    assert remedy in str(problem.next_step)


def test_what_the_original_s_files_hold_is_taken_as_it_is(tmp_path: Path) -> None:
    """Its options without a meaning here, and the later names of those with one."""
    start_url = "https://d-1234567890.awsapps.com/start"
    arn = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/ABCD"
    named = {"idc_start_url": start_url, "idc_region": "eu-north-1", "idc_profile_arn": arn}
    text = dict.fromkeys(WITHOUT_EFFECT, True) | named

    config = load_with(tmp_path, json.dumps(text))

    assert (config.problems, config.sso_start_url, config.sso_region) == ((), start_url, "eu-north-1")
    assert config.sso_profile_arn == arn


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ({"usage_toast_enabled": False}, "warnings"),
        ({"usage_toast_enabled": True}, "all"),
        ({"usage_toast_enabled": False, "toast_level": "none"}, "none"),
    ],
)
def test_the_original_s_switch_for_figures_is_a_level_here(tmp_path: Path, text: Any, level: str) -> None:
    config = load_with(tmp_path, json.dumps(text))

    assert (config.problems, config.toast_level) == ((), level)


def test_endpoints_come_from_the_file_or_the_environment(tmp_path: Path) -> None:
    text = json.dumps({"endpoints": {"runtime": "https://a.example/{region}", "oidc": ["https://b.example"]}})

    config = load_with(tmp_path, text, KIRO_ENDPOINT_OIDC="http://127.0.0.1:9/{region}")

    assert config.endpoints["runtime"] == ("https://a.example/{region}",)
    assert config.endpoints["oidc"] == ("http://127.0.0.1:9/{region}",)
    assert config.endpoints["management"] == ()


@pytest.mark.parametrize(
    ("endpoints", "message"),
    [
        (5, "endpoints in FILE is 5, but must be an object of roles and their addresses."),
        ({"runtime": 5}, "endpoints.runtime in FILE is 5, but must be an https URL"),
        ({"runtime": []}, "endpoints.runtime in FILE is [], but must be at least one address."),
        ({"runtime": ["foo"]}, 'endpoints.runtime in FILE is "foo", but must be an https URL'),
        (
            {"runtime": "https://q.{regoin}.amazonaws.com"},
            'endpoints.runtime in FILE is "https://q.{regoin}.amazonaws.com", but must be an https URL',
        ),
        ({"runtime": {"protocol": "rest"}}, "endpoints.runtime in FILE has no url."),
        ({"runtime": {"url": "x"}}, 'endpoints.runtime.url in FILE is "x", but must be an https URL'),
        (
            {"runtime": {"url": "https://x", "protocol": "soap"}},
            'endpoints.runtime.protocol in FILE is "soap", but must be one of rest, rpc.',
        ),
        ({"runtime": {"url": "https://x", "path": "chat"}}, "endpoints.runtime.path in FILE"),
        ({"runtime": {"url": "https://x", "origin": 1}}, "endpoints.runtime.origin in FILE is 1"),
        ({"runtime": {"url": "https://x", "target_prefix": None}}, "endpoints.runtime.target_prefix in"),
        ({"runtime": {"url": "https://x", "kinds": ["ldap"]}}, 'endpoints.runtime.kinds in FILE is ["ldap"]'),
        ({"runtime": {"url": "https://x", "kinds": "idc"}}, 'endpoints.runtime.kinds in FILE is "idc"'),
    ],
    ids=lambda value: json.dumps(value) if not isinstance(value, str) else "",
)
def test_an_endpoint_that_cannot_be_used_is_named_in_plain_words(
    tmp_path: Path, endpoints: Any, message: str
) -> None:
    given = {"endpoints": endpoints}

    config = load_with(tmp_path, json.dumps(given))

    [problem] = config.problems
    assert problem.message.startswith(message.replace("FILE", str(tmp_path / "kiro.json")))
    assert problem.message.endswith(".")
    assert not any(config.endpoints.values())
    assert not Draft202012Validator(schema()).is_valid(given) or endpoints == {"runtime": []}


def test_an_endpoint_may_say_all_that_the_documentation_names(tmp_path: Path) -> None:
    entry = {
        "url": "https://q.{region}.example", "protocol": "rest", "target_prefix": "Service", "path": "/chat",
        "origin": "AI_EDITOR", "kinds": ["api-key"],
    }  # fmt: skip
    config = load_with(tmp_path, json.dumps({"endpoints": {"runtime": [entry]}}))

    assert (config.problems, config.endpoints["runtime"]) == ((), (entry,))
    assert set(entry) == set(ENDPOINT)
    assert all(f"`{name}`" in DOCUMENTATION.read_text() for name in ENDPOINT)


@pytest.mark.parametrize("url", ["http://example.org", "ftp://127.0.0.1", "https://u@example.org", ""])
def test_an_endpoint_that_secrets_must_not_travel_to_is_refused(tmp_path: Path, url: str) -> None:
    config = load_with(tmp_path, json.dumps({"endpoints": {"runtime": [url]}}))

    assert config.endpoints["runtime"] == ()
    assert "endpoints.runtime" in config.problems[0].message
    assert not acceptable_url(url)


def test_a_password_in_a_refused_address_is_not_told(tmp_path: Path) -> None:
    refused = "https://ada:s3cret@proxy.example"
    problems = load_with(
        tmp_path, json.dumps({"sso_start_url": refused}), KIRO_ENDPOINT_OIDC=refused
    ).problems

    assert len(problems) == 2
    assert all("//…@proxy.example" in problem.message for problem in problems)
    assert not any("s3cret" in problem.sentence() for problem in problems)


def test_a_variable_that_is_no_text_is_named_like_any_other(tmp_path: Path) -> None:
    """Python shows a byte of it that is no UTF-8 as half a character."""
    [problem] = load_with(tmp_path, "{}", KIRO_DEFAULT_REGION="eu-\udcff").problems

    assert problem.message.startswith('KIRO_DEFAULT_REGION is "eu-?", but must be ')


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_documentation_has_every_option_with_its_range_and_default(option: Any) -> None:
    row = f"| `{option.name}` | `{option.variable}` | {json.dumps(option.default)} | {option.kind.allowed} |"

    assert row in DOCUMENTATION.read_text()


# ---------------------------------------------------------- addresses that may be named but are not known


def sent_to(config: Any, role: str, kind: Any = "idc") -> list[str]:
    """The hosts that would be asked, or none with the reason."""
    endpoints = Endpoints(config.endpoints, config.unknown_endpoints)
    return [endpoint.url for endpoint in endpoints.order(role, kind, "us-east-1")]


UNREADABLE: dict[str, bytes] = {
    "cut": b'{"endpoints": {"runtime": "https://kiro.example.com"',
    "not UTF-8": b'{"endpoints": {"runtime": "\xff"}}',
    "a list": b"[]",
    "no roles": b'{"endpoints": ["https://kiro.example.com"]}',
    "null": b'{"endpoints": null}',
    "misspelt": b'{"endpoint": {"runtime": "https://kiro.example.com"}}',
    "misspelt role": b'{"endpoints": {"runtim": "https://kiro.example.com"}}',
}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "external_idp"])
@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_nothing_is_sent_to_public_hosts_where_the_file_may_name_others_but_cannot_be_read(
    tmp_path: Path, text: bytes, role: str
) -> None:
    (tmp_path / "kiro.json").write_bytes(text)

    with pytest.raises(ConfigFailed) as raised:
        sent_to(load(environment={}, folder=tmp_path), role)

    failure = raised.value.failure
    assert failure.code == "KA-CONFIG"
    assert str(tmp_path / "kiro.json") in failure.message
    assert "Nothing is sent to the public addresses" in failure.message
    assert "kiro-auth stop" in str(failure.next_step)


@pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
@pytest.mark.parametrize("placed", ["pipe", "folder", "dangling link"])
def test_nothing_is_sent_where_what_lies_at_its_place_is_no_file(tmp_path: Path, placed: str) -> None:
    path = tmp_path / "kiro.json"
    if placed == "pipe":
        os.mkfifo(path)
    elif placed == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "dotfiles" / "kiro.json")

    with pytest.raises(ConfigFailed, match="Nothing is sent"):
        sent_to(load(environment={}, folder=tmp_path), "oidc")


def test_a_role_whose_addresses_are_wrong_stops_that_role_and_those_that_follow_it(tmp_path: Path) -> None:
    config = load_with(tmp_path, '{"endpoints": {"management": "htps://kiro.example.com"}}')

    for role in ("management", "profiles"):
        with pytest.raises(ConfigFailed, match=r"endpoints\.management in"):
            sent_to(config, role)
    assert sent_to(config, "runtime") == sent_to(load(environment={}, folder=tmp_path / "none"), "runtime")


def test_what_a_variable_names_is_asked_though_the_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "kiro.json").write_text("{")

    config = load(environment={"KIRO_ENDPOINT_OIDC": "https://oidc.example.com"}, folder=tmp_path)

    assert sent_to(config, "oidc") == ["https://oidc.example.com"]
    with pytest.raises(ConfigFailed):
        sent_to(config, "runtime")


@pytest.mark.parametrize(
    "text", [None, "", " \n", "{}", '{"debug": true}', '{"toast_level": 5}', '{"endpoints": {}}']
)
def test_a_file_that_is_read_and_names_no_address_leaves_the_public_ones(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "kiro.json").write_text(text)

    config = load(environment={}, folder=tmp_path)

    assert config.unknown_endpoints == {}
    assert sent_to(config, "oidc") == ["https://oidc.us-east-1.amazonaws.com"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"ledger": false, "budgets": {"day": 5}}', "count from each start of the gateway on"),
        ('{"ledger_projects": false, "budgets": {"project": 5}}', "budgets.project of .* counts nothing"),
    ],
)
def test_budgets_that_another_option_takes_the_ground_from_are_told(
    tmp_path: Path, text: str, words: str
) -> None:
    config = load_with(tmp_path, text)

    [problem] = config.problems
    assert re.search(words, problem.message)
    assert config.budgets


@pytest.mark.parametrize("value", ["keychain", "file", "Keyring"])
def test_where_the_tokens_are_is_not_guessed_from_a_value_that_is_none(tmp_path: Path, value: str) -> None:
    """The files would be used in place of the keyring, in silence."""
    for config in (
        load_with(tmp_path, KIRO_SECRETS=value),
        load_with(tmp_path, json.dumps({"secrets": value})),
    ):
        assert config.unknown_store is not None
        assert "secrets" in config.unknown_store.message.lower()
        assert config.problems


def test_a_keyring_beside_a_database_is_refused_by_name(tmp_path: Path) -> None:
    config = load_with(tmp_path, KIRO_SECRETS="keyring", KIRO_STORE="postgresql://kiro@db.example.com/kiro")

    assert config.unknown_store is not None
    assert config.unknown_store in config.problems
    assert "KIRO_SECRETS is keyring, but store names a database" in config.unknown_store.message
