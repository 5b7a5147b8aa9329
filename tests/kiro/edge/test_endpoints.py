"""Hosts are data: the built-in table, and what overrides make of it."""

import pytest

from kiro_auth.failures import ConfigFailed
from kiro_auth.kiro.edge.endpoints import Endpoint, Endpoints


def urls(role: str, kind: str, region: str) -> list[str]:
    return [endpoint.url for endpoint in Endpoints().order(role, kind, region)]


@pytest.mark.parametrize("kind", ["builder-id", "idc", "social"])
def test_signed_in_people_chat_at_the_new_host_first(kind):
    assert urls("runtime", kind, "us-east-1") == [
        "https://runtime.us-east-1.kiro.dev",
        "https://q.us-east-1.amazonaws.com",
        "https://codewhisperer.us-east-1.amazonaws.com",
    ]


@pytest.mark.parametrize("kind", ["api-key", "external-idp"])
def test_keys_and_external_sign_ins_chat_at_the_old_host_first(kind):
    assert urls("runtime", kind, "us-east-1") == [
        "https://q.us-east-1.amazonaws.com",
        "https://runtime.us-east-1.kiro.dev",
    ]


def test_a_host_that_exists_in_one_region_only_is_not_asked_for_in_another():
    assert "https://codewhisperer.eu-central-1.amazonaws.com" not in urls("runtime", "idc", "eu-central-1")


def test_lists_and_usage_have_an_order_of_their_own():
    assert urls("management", "idc", "eu-central-1") == [
        "https://management.eu-central-1.kiro.dev",
        "https://q.eu-central-1.amazonaws.com",
    ]
    assert urls("management", "api-key", "us-east-1")[0] == "https://q.us-east-1.amazonaws.com"


def test_profiles_are_listed_under_the_older_service_name():
    first, second = Endpoints().order("profiles", "idc", "us-east-1")
    assert first.target_prefix == second.target_prefix == "AmazonCodeWhispererService"


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-north-1", "https://oidc.eu-north-1.amazonaws.com"),
        ("us-gov-west-1", "https://oidc.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://oidc.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "https://oidc.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_sign_in_hosts_follow_the_partition(region, url):
    assert urls("oidc", "idc", region) == [url]


@pytest.mark.parametrize("region", ["us-gov-west-1", "us-gov-east-1"])
@pytest.mark.parametrize("kind", ["idc", "external-idp", "api-key"])
@pytest.mark.parametrize("role", ["runtime", "management", "profiles"])
def test_in_govcloud_every_call_goes_to_the_hosts_there(role, kind, region):
    assert urls(role, kind, region) == [f"https://q-fips.{region}.amazonaws.com"]


def test_social_tokens_are_refreshed_at_the_desktop_service():
    assert urls("desktop_auth", "social", "us-east-1") == ["https://prod.us-east-1.auth.desktop.kiro.dev"]


@pytest.mark.parametrize(
    "region", ["", "us-east-1.evil.example", "us-east-1/", "evil.example#", "US-EAST-1", "us-east-1\n", "x@y"]
)
@pytest.mark.parametrize("role", ["runtime", "oidc"])
def test_no_text_becomes_a_host(role, region):
    with pytest.raises(ConfigFailed) as raised:
        Endpoints().order(role, "idc", region)
    assert raised.value.failure.code == "KA-CONFIG"


def test_a_plain_override_speaks_rpc():
    endpoints = Endpoints({"runtime": ("http://127.0.0.1:9/{region}/",)})
    assert endpoints.order("runtime", "idc", "eu-central-1") == (
        Endpoint("http://127.0.0.1:9/eu-central-1", "rpc", "KiroRuntimeService", "KIRO_CLI"),
    )


@pytest.mark.parametrize(
    "host",
    [
        "q.us-east-1.amazonaws.com",
        "q-fips.us-gov-west-1.amazonaws.com",
        "codewhisperer.us-east-1.amazonaws.com",
    ],
)
def test_a_plain_override_naming_an_old_host_speaks_rest(host):
    (endpoint,) = Endpoints({"runtime": (f"https://{host}",)}).order("runtime", "idc", "us-east-1")
    assert (endpoint.protocol, endpoint.origin) == ("rest", "AI_EDITOR")


def test_an_object_fixes_everything():
    entry = {
        "url": "https://gw.example/{region}",
        "protocol": "rest",
        "target_prefix": "X",
        "path": "/chat",
        "origin": "IDE",
    }
    (endpoint,) = Endpoints({"runtime": (entry,)}).order("runtime", "idc", "us-east-1")
    assert endpoint == Endpoint("https://gw.example/us-east-1", "rest", "X", "IDE", "/chat")


def test_an_entry_for_other_kinds_leaves_the_table_in_force():
    endpoints = Endpoints({"runtime": ({"url": "https://gw.example", "kinds": ["api-key"]},)})
    assert [e.url for e in endpoints.order("runtime", "api-key", "us-east-1")] == ["https://gw.example"]
    assert endpoints.order("runtime", "idc", "us-east-1") == Endpoints().order("runtime", "idc", "us-east-1")


def test_overriding_management_covers_the_list_of_profiles():
    endpoints = Endpoints({"management": ("http://127.0.0.1:9/{region}",)})
    (models,) = endpoints.order("management", "idc", "us-east-1")
    (profiles,) = endpoints.order("profiles", "idc", "us-east-1")
    assert models.url == profiles.url == "http://127.0.0.1:9/us-east-1"
    assert models.target_prefix == "KiroControlPlaneBearerService"
    assert profiles.target_prefix == "AmazonCodeWhispererService"
