"""The addresses of the APIs, however a base URL was written."""

from __future__ import annotations

import time
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.gateway.http.head import HeadReader
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.paths import COMPACT, SURFACES, plain, surface_at
from kiro_auth.surfaces.openai import compact as openai_compact

ADDRESSES = (*SURFACES, COMPACT, "/v1/messages/count_tokens", "/v1/models")
ROUTES = {f"GET {address}": Route() for address in (*ADDRESSES, "/v1/models/*")}
TABLE = Routes(ROUTES)
slashes = st.integers(1, 3).map("/".__mul__)
ways = st.builds(
    lambda address, times, joins, end: (
        "".join(
            f"{join}{part}"
            for join, part in zip(joins, ["v1"] * times + address.split("/")[2:], strict=False)
        )
        + end
    ),
    st.sampled_from(ADDRESSES),
    st.integers(0, 3),
    st.lists(slashes, min_size=6, max_size=6),
    st.integers(0, 2).map("/".__mul__),
)


def same_address(path: str) -> str:
    """By a reading of its own: slashes and `v1` are nothing, and one of each stands in front."""
    return "/v1/" + "/".join(part for part in path.split("/") if part not in ("", "v1"))


@given(ways)
def test_a_v1_too_many_or_too_few_and_a_slash_too_many_are_the_same_address(path: str) -> None:
    assert plain(path) == same_address(path)
    assert plain(path) in ADDRESSES
    assert plain(plain(path)) == plain(path)


def resolved(path: str) -> str | None:
    """The address whose route takes a path, as that is sent; None where there is none."""
    found = HeadReader().feed(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert found is not None
    route = TABLE.find("GET", plain(found[0].path))
    return next((address for address, each in ROUTES.items() if each is route), None)


@given(ways)
def test_the_route_of_an_address_takes_every_way_to_write_it(path: str) -> None:
    assert resolved(path) == f"GET {same_address(path)}"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/claude-opus-4-6", "claude-opus-4-6"),
        ("/models/claude-opus-4-6/", "claude-opus-4-6"),
        ("//v1/v1/models/vertex/claude-opus-4-6", "vertex/claude-opus-4-6"),
        ("/v1/models/vertex%2Fclaude-opus-4-6", "vertex/claude-opus-4-6"),
    ],
)
def test_a_model_s_name_may_hold_a_slash(path: str, model: str) -> None:
    assert resolved(path) == "GET /v1/models/*"
    assert plain(unquote(path)) == f"/v1/models/{model}"


@pytest.mark.parametrize("before", ["/v1/models/a", "/v1/models", "", "/v1", "/v1/responses"])
@pytest.mark.parametrize("many", ["/", "/v1", "/a", "v1/"])
@pytest.mark.parametrize("end", ["", "/b", "/%0A"])
def test_no_path_makes_the_search_for_its_route_long(before: str, many: str, end: str) -> None:
    begun = time.process_time()
    resolved(f"{before}{many * (30_000 // len(many))}{end}" if before else f"/{many * 7_000}{end}")

    assert time.process_time() - begun < 1


@pytest.mark.parametrize("path", ["/", "/health", "/v1", "/v1/health", "/kiro/accounts", "/v2/messages"])
def test_other_addresses_are_as_they_are_and_take_no_short_cut(path: str) -> None:
    assert plain(path) == path
    assert resolved(path) is None


def test_the_api_is_known_by_any_way_to_write_its_address() -> None:
    assert surface_at("/chat/completions/") is SURFACES["/v1/chat/completions"]
    assert surface_at("/v1/v1/responses/compact") is openai_compact
    assert surface_at("/nowhere") is SURFACES["/v1/messages"]
