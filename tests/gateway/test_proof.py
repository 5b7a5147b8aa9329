"""What a gateway and a caller show each other: right when every part is, refused when any part is not."""

from __future__ import annotations

import hashlib
import hmac
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kiro_auth.gateway.proof import FRESH_SECONDS, Prover, is_nonce, new_nonce, new_secret

SECRET = "a-secret-of-this-test"
NOW = 1000.5
PROVER = Prover(SECRET, "127.0.0.1", 4000)
NONCE = new_nonce()

nonces = st.text(string.ascii_letters + string.digits + "-_", min_size=16, max_size=128)
secret_texts = st.text(min_size=1, max_size=50).filter(lambda text: text.isprintable())
hosts = st.sampled_from(["127.0.0.1", "127.0.0.2", "::1", "0.0.0.0"])
ports = st.integers(1, 65535)
provers = st.builds(Prover, secret_texts, hosts, ports)
times = st.floats(0, 1e9)


def by_hand(secret: str, *lines: str) -> str:
    return hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def test_the_hashes_are_over_the_lines_that_every_program_of_ours_agrees_on() -> None:
    """The plugin makes the same ones in JavaScript."""
    theirs = PROVER.gateway_nonce(NONCE, NOW)
    gateway = by_hand(SECRET, "kiro-auth gateway", "127.0.0.1:4000", NONCE, theirs)
    caller = by_hand(SECRET, "kiro-auth caller", "127.0.0.1:4000", NONCE, theirs)

    assert theirs == "1000." + by_hand(SECRET, "kiro-auth nonce", "1000", NONCE)[:32]
    assert PROVER.gateway_proof(NONCE, theirs) == gateway
    assert PROVER.credentials(NONCE, theirs) == f"{NONCE}:{theirs}:{caller}"


@given(provers, nonces, times, st.floats(0, FRESH_SECONDS))
def test_both_believe_each_other_for_a_minute(prover: Prover, nonce: str, now: float, later: float) -> None:
    theirs = prover.gateway_nonce(nonce, now)

    assert prover.is_gateway(nonce, theirs, prover.gateway_proof(nonce, theirs))
    assert prover.is_caller(prover.credentials(nonce, theirs), int(now) + later)


@given(provers, nonces, times)
def test_a_nonce_is_refused_before_its_time_and_after_a_minute(
    prover: Prover, nonce: str, now: float
) -> None:
    credentials = prover.credentials(nonce, prover.gateway_nonce(nonce, now))

    assert not prover.is_caller(credentials, int(now) + FRESH_SECONDS + 1)
    assert not prover.is_caller(credentials, int(now) - 1)


@given(provers, provers, nonces, times)
def test_another_secret_or_address_makes_no_proof_that_is_right(
    ours: Prover, other: Prover, nonce: str, now: float
) -> None:
    assume(ours != other)
    theirs = other.gateway_nonce(nonce, now)

    assert not ours.is_gateway(nonce, theirs, other.gateway_proof(nonce, theirs))
    assert not ours.is_caller(other.credentials(nonce, theirs), now)


def test_half_a_character_in_a_nonce_is_refused_like_any_other_change() -> None:
    nonce = "0" * 32
    theirs = PROVER.gateway_nonce(nonce, NOW)

    assert not PROVER.is_gateway(nonce, "\ud800" + theirs[1:], PROVER.gateway_proof(nonce, theirs))


@given(nonces, st.data())
def test_a_change_of_any_character_is_refused(nonce: str, data: st.DataObject) -> None:
    theirs = PROVER.gateway_nonce(nonce, NOW)
    credentials = PROVER.credentials(nonce, theirs)
    proof = PROVER.gateway_proof(nonce, theirs)
    for text, accepts in (
        (credentials, lambda changed: PROVER.is_caller(changed, NOW)),
        (proof, lambda changed: PROVER.is_gateway(nonce, theirs, changed)),
        (theirs, lambda changed: PROVER.is_gateway(nonce, changed, proof)),
        (nonce, lambda changed: PROVER.is_gateway(changed, theirs, proof)),
    ):
        at = data.draw(st.integers(0, len(text) - 1))
        put_in = data.draw(st.one_of(st.just(""), st.characters()))
        changed = text[:at] + put_in + text[at + 1 :]
        assume(changed != text)

        assert accepts(text)
        assert not accepts(changed)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert not PROVER.is_caller(text, NOW)
    assert not PROVER.is_gateway(NONCE, text, text)


def test_what_one_side_shows_is_not_what_the_other_must_show() -> None:
    """Or a gateway's answer could be sent back to it."""
    theirs = PROVER.gateway_nonce(NONCE, NOW)
    shown = PROVER.gateway_proof(NONCE, theirs)

    assert not PROVER.is_caller(f"{NONCE}:{theirs}:{shown}", NOW)


def test_a_caller_may_not_choose_the_gateway_s_nonce() -> None:
    """Or one of its own making would be fresh for ever."""
    assert not PROVER.is_caller(PROVER.credentials(NONCE, "1000." + "0" * 32), NOW)


def test_the_time_in_a_nonce_is_written_in_one_way_only() -> None:
    theirs = PROVER.gateway_nonce(NONCE, NOW)

    for other in (f"0{theirs}", f"+{theirs}", f" {theirs}", theirs.replace("1000", "1_000")):
        assert not PROVER.is_caller(PROVER.credentials(NONCE, other), NOW)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a" * 16, True),
        ("a" * 128, True),
        ("-_azAZ09" * 2, True),
        ("a" * 15, False),
        ("a" * 129, False),
        ("a" * 15 + "=", False),
        ("a" * 16 + "\n", False),
        ("ä" * 16, False),
        ("", False),
    ],
)
def test_a_nonce_is_16_to_128_characters_of_base64url(text: str, right: bool) -> None:
    assert is_nonce(text) is right


def test_no_two_nonces_and_no_two_secrets_are_the_same() -> None:
    made = {make() for make in (new_nonce, new_secret) for _ in range(50)}

    assert len(made) == 100
    assert all(is_nonce(text) and len(text) == 43 for text in made)
