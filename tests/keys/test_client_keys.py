"""Client keys as values, in their file, and as a gateway knows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.events import Caller
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.keys.changes import Changes, Limits
from kiro_auth.keys.files import FileKeys
from kiro_auth.keys.key import ClientKey, hashed
from kiro_auth.keys.spending import PERIODS, Spending, bounds

NOW = 1_800_000_000.0


def files(folder: Path) -> FileKeys:
    return FileKeys(folder / "config", folder / "state")


def changes(folder: Path, **more: bool) -> Changes:
    return Changes(files(folder), "ada", NOW, **more)


@pytest.mark.parametrize(
    ("patterns", "names", "allowed"),
    [
        ((), ("any",), True),
        (("claude-sonnet-4.5",), ("claude-sonnet-4-5",), True),
        (("claude-sonnet-4-5",), ("claude-sonnet-4.5", "claude-sonnet-4-5-thinking"), True),
        (("claude-haiku-*",), ("Claude-Haiku-4.5",), True),
        (("claude-haiku-*",), ("claude-sonnet-4.5",), False),
        (("claude-haiku",), ("claude-haiku-4.5",), False),
        (("claude-haiku-*",), ("auto",), False),
    ],
)
def test_a_model_is_allowed_by_any_of_its_names(
    patterns: tuple[str, ...], names: tuple[str, ...], allowed: bool
) -> None:
    key = ClientKey(id="k", name="k", hash="", created=0, models=patterns)
    assert key.allows_model(names) == allowed


@pytest.mark.parametrize("name", ["", "a b", "ada@example.com", "owner", "a\n", "x" * 61, "-a"])
def test_a_name_that_cannot_stand_in_a_log_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigFailed):
        changes(tmp_path).create(name, Limits())
    assert files(tmp_path).keys() == ()


def test_half_a_row_of_a_killed_process_hides_no_other(tmp_path: Path) -> None:
    changes(tmp_path).create("ann", Limits())
    with (tmp_path / "state" / "client-keys.log").open("a") as log:
        log.write('{"when": 1, "who": "a')
    changes(tmp_path).revoke("ann")
    assert [row.what for row in files(tmp_path).audit()] == ["create", "revoke"]


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2, "keys": []}', '{"version": 1, "keys": [{}]}'])
def test_a_file_that_cannot_be_understood_lets_nobody_in_and_is_not_written_over(
    tmp_path: Path, text: str
) -> None:
    secret = changes(tmp_path).create("ann", Limits()).secret
    path = tmp_path / "config" / "client-keys.json"
    path.write_text(text)
    refused = ClientKeys(files(tmp_path)).admit(secret)

    assert isinstance(refused, Failure)
    assert (refused.code, str(path) in refused.message) == ("KA-STORE", True)
    with pytest.raises(StoreFailed):
        changes(tmp_path).create("bob", Limits())
    assert path.read_text() == text


def test_the_store_is_looked_at_once_a_second_at_most_for_keys_that_are_known(tmp_path: Path) -> None:
    looked, now = [], [0.0]

    class Counting(FileKeys):
        def keys(self) -> tuple[ClientKey, ...]:
            looked.append(now[0])
            return tuple(super().keys())

    secret = changes(tmp_path).create("ann", Limits()).secret
    keys = ClientKeys(Counting(tmp_path / "config", tmp_path / "state"), monotonic=lambda: now[0])
    for _ in range(30):
        assert isinstance(keys.admit(secret), Caller)
        now[0] += 0.1
    assert keys.admit("of-another-kind") is None
    assert len(looked) <= 4


def test_a_key_that_was_made_is_known_at_once_and_a_wrong_one_is_none(tmp_path: Path) -> None:
    keys = ClientKeys(files(tmp_path), monotonic=lambda: 0.0)
    assert keys.admit("kak_wrong") is None
    made = changes(tmp_path).create("ann", Limits())
    assert keys.admit(made.secret) == Caller(made.key.id, "ann", hashed(made.secret))
    assert keys.admit(made.secret + "x") is None
    assert keys.admit(hashed(made.secret)) is None
    assert keys.admit(f"kak_{hashed(made.secret)}") is None


def test_expiry_counts_by_the_clock_though_the_file_does_not_change(tmp_path: Path) -> None:
    now = [NOW]
    secret = changes(tmp_path).create("ann", Limits(expires=NOW + 10)).secret
    keys = ClientKeys(files(tmp_path), clock=lambda: now[0])
    assert isinstance(keys.admit(secret), Caller)
    now[0] = NOW + 10
    refused = keys.admit(secret)
    assert isinstance(refused, Failure)
    assert refused.code == "KA-KEY-EXPIRED"


def test_only_the_hash_is_kept(tmp_path: Path) -> None:
    made = changes(tmp_path).create("ann", Limits())
    kept = (tmp_path / "config" / "client-keys.json").read_text()
    assert made.secret not in kept
    assert json.loads(kept)["keys"][0]["hash"] == hashed(made.secret)
    assert made.secret not in (tmp_path / "state" / "client-keys.log").read_text()


@given(
    st.floats(0, 4_000_000_000), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York"])
)
def test_a_moment_is_in_its_day_and_in_its_month(now: float, zone: str) -> None:
    (day, day_end), (month, month_end) = (bounds(period, now, ZoneInfo(zone)) for period in PERIODS)
    begin = datetime.fromtimestamp(month, UTC).astimezone(ZoneInfo(zone))

    assert month <= day <= now < day_end <= month_end
    assert (begin.day, begin.hour, begin.minute) == (1, 0, 0)
    assert 22 * 3600 < day_end - day < 26 * 3600


def test_a_day_and_a_month_begin_at_nothing() -> None:
    now = [datetime(2026, 12, 30, 12, tzinfo=UTC).timestamp()]
    spending = Spending(lambda: now[0], UTC)
    for _ in range(10):
        spending.add("k", 0.1)
    assert (spending.spent("k", "day"), spending.spent("k", "month")) == (1.0, 1.0)
    now[0] += 86400
    assert (spending.spent("k", "day"), spending.spent("k", "month")) == (0.0, 1.0)
    now[0] += 86400
    assert (spending.spent("k", "day"), spending.spent("k", "month")) == (0.0, 0.0)
