"""Who may come in."""

from __future__ import annotations

import pytest

from kiro_auth.failures import Failure
from kiro_auth.gateway.guard import OWNER, Guard
from kiro_auth.gateway.proof import Prover

PROVER = Prover("a-secret", "127.0.0.1", 4000)
GUARD = Guard(key="right-key", prover=PROVER, clock=lambda: 1000.0)
HOST = {"host": "127.0.0.1:4000"}
KEY = {"x-api-key": "right-key"}


@pytest.mark.parametrize(
    "headers",
    [
        {**HOST, **KEY},
        {**HOST, "authorization": "Bearer right-key"},
        {**HOST, "authorization": "bearer right-key"},
        {"host": "localhost", **KEY},
        {"host": "[::1]:80", **KEY},
        {**HOST, **KEY, "origin": "http://127.0.0.1:4000"},
        {**HOST, **KEY, "authorization": "Bearer of-another-service"},
        {**HOST, "x-api-key": "of-another-service", "authorization": "Bearer right-key"},
    ],
    ids=str,
)
def test_the_right_key_from_this_machine_comes_in(headers: dict[str, str]) -> None:
    assert GUARD.admit(headers, key_needed=True) == OWNER


@pytest.mark.parametrize(
    ("headers", "code", "word"),
    [
        (HOST, "KA-KEY", "missing"),
        ({**HOST, "x-api-key": "wrong"}, "KA-KEY", "wrong"),
        ({**HOST, "x-api-key": ""}, "KA-KEY", "missing"),
        ({**HOST, "authorization": "Basic right-key"}, "KA-KEY", "missing"),
        ({**HOST, "authorization": "Bearer rïght"}, "KA-KEY", "wrong"),
        (KEY, "KA-ORIGIN", "Host"),
        ({"host": "evil.example", **KEY}, "KA-ORIGIN", "Host"),
        ({"host": "127.0.0.1.evil.example:4000", **KEY}, "KA-ORIGIN", "Host"),
        ({"host": "[::1", **KEY}, "KA-ORIGIN", "Host"),
        ({**HOST, **KEY, "origin": "https://evil.example"}, "KA-ORIGIN", "web pages"),
        ({**HOST, **KEY, "origin": "null"}, "KA-ORIGIN", "web pages"),
    ],
    ids=str,
)
def test_everything_else_is_refused_with_the_reason(headers: dict[str, str], code: str, word: str) -> None:
    refusal = GUARD.admit(headers, key_needed=True)

    assert isinstance(refusal, Failure)
    assert refusal.code == code
    assert word in refusal.message
    assert "right-key" not in refusal.sentence()


def test_where_no_key_is_needed_a_wrong_one_is_still_refused() -> None:
    """A program that found an old state file must learn that this is another gateway."""
    assert GUARD.admit(HOST, key_needed=False) == OWNER
    assert isinstance(GUARD.admit({**HOST, "x-api-key": "old"}, key_needed=False), Failure)


def test_a_public_gateway_accepts_any_host_but_no_missing_key() -> None:
    public = Guard(key="right-key", prover=PROVER, public=True)

    assert public.admit({"host": "kiro.example.org", **KEY}, key_needed=True) == OWNER
    assert isinstance(public.admit({"host": "kiro.example.org"}, key_needed=True), Failure)


@pytest.mark.parametrize(
    "headers",
    [
        {**HOST, "x-api-key": "\udcff"},
        {**HOST, **KEY, "origin": "http://["},
        {**HOST, **KEY, "origin": "null"},
        {"host": "[", **KEY},
    ],
    ids=str,
)
def test_malformed_headers_are_refused_and_nothing_breaks(headers: dict[str, str]) -> None:
    assert isinstance(GUARD.admit(headers, key_needed=True), Failure)


OPEN_TO_SOME = Guard(
    key="right-key",
    prover=PROVER,
    hosts=frozenset({"host.docker.internal"}),
    origins=frozenset({"app://notes", "http://localhost:3000"}),
)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "host.docker.internal:4000", **KEY},
        {"host": "Host.Docker.Internal", **KEY},
        {**HOST, **KEY, "origin": "app://notes"},
        {"host": "host.docker.internal", **KEY, "origin": "http://localhost:3000"},
    ],
    ids=str,
)
def test_names_and_origins_that_were_given_come_in(headers: dict[str, str]) -> None:
    assert OPEN_TO_SOME.admit(headers, key_needed=True) == OWNER
    refused = GUARD.admit(headers, key_needed=True)
    assert isinstance(refused, Failure)
    assert refused.code == "KA-ORIGIN"


@pytest.mark.parametrize(
    ("headers", "remedy"),
    [
        ({"host": "docker.internal", **KEY}, "--allow-host docker.internal"),
        ({"host": "host.docker.internal.evil.example", **KEY}, "--allow-host host.docker.internal.evil"),
        ({**HOST, **KEY, "origin": "app://notes2"}, "--allow-origin app://notes2"),
        ({**HOST, **KEY, "origin": "App://notes"}, "--allow-origin App://notes"),
        ({**HOST, **KEY, "origin": "https://localhost:3000"}, "--allow-origin https://localhost:3000"),
    ],
    ids=str,
)
def test_those_that_were_not_given_are_told_the_option(headers: dict[str, str], remedy: str) -> None:
    refusal = OPEN_TO_SOME.admit(headers, key_needed=True)

    assert isinstance(refusal, Failure)
    assert remedy in refusal.sentence()


def test_a_name_or_an_origin_is_no_key() -> None:
    headers = {"host": "host.docker.internal", "origin": "app://notes"}
    refusal = OPEN_TO_SOME.admit(headers, key_needed=True)

    assert isinstance(refusal, Failure)
    assert refusal.code == "KA-KEY"


def proved(prover: Prover = PROVER, at: float = 1000.0) -> dict[str, str]:
    nonce = "a-nonce-of-a-caller"
    return {"authorization": f"KiroProof {prover.credentials(nonce, prover.gateway_nonce(nonce, at))}"}


def test_a_proof_counts_as_the_right_key() -> None:
    assert GUARD.admit({**HOST, **proved()}, key_needed=True) == OWNER
    assert GUARD.admit({**HOST, **proved()}, key_needed=False) == OWNER
    assert (
        GUARD.admit({**HOST, **proved(at=940.0), "x-api-key": "of-another-service"}, key_needed=True) == OWNER
    )


@pytest.mark.parametrize(
    "headers",
    [
        proved(at=939.0),
        proved(at=1001.0),
        proved(Prover("another-secret", "127.0.0.1", 4000)),
        proved(Prover("a-secret", "127.0.0.1", 4001)),
        {"authorization": "KiroProof"},
        {"authorization": "KiroProof right-key"},
        {"authorization": "KiroProof a-secret"},
        {"authorization": proved()["authorization"].replace("KiroProof", "Bearer")},
        {"x-api-key": proved()["authorization"].partition(" ")[2]},
    ],
    ids=["old", "of the future", "another secret", "another port", "nothing", "the key", "the secret",
         "as a bearer", "as a key"],
)  # fmt: skip
@pytest.mark.parametrize("key_needed", [True, False])
def test_a_proof_that_is_not_right_is_refused(headers: dict[str, str], key_needed: bool) -> None:
    refusal = GUARD.admit({**HOST, **headers}, key_needed=key_needed)

    assert isinstance(refusal, Failure)
    assert refusal.code == "KA-KEY"


def test_a_proof_does_not_let_web_pages_in() -> None:
    assert isinstance(GUARD.admit({**proved(), "host": "evil.example"}, key_needed=True), Failure)
    assert isinstance(
        GUARD.admit({**HOST, **proved(), "origin": "https://evil.example"}, key_needed=True), Failure
    )
