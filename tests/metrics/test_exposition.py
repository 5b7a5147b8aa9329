"""What /metrics says, read by Prometheus's own parsers; no socket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from kiro_auth.accounts.account import Account
from kiro_auth.events import Failed, Left, Running, TurnEnded
from kiro_auth.failures import Failure, StoreFailed, TurnFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.metrics.counters import MOST_MODELS, Counters
from kiro_auth.metrics.exposition import Sources, exposition
from support.pool import NOW, Stage
from support.turns import turn_ended

OPEN = "application/openmetrics-text; version=1.0.0"


def failure(code: str) -> Failure:
    return Failure(code=code, message="x")


def counted(*turns: TurnEnded) -> Counters:
    counters = Counters()
    for turn in turns:
        counters.on_turn_ended(turn)
    return counters


def sources(**given: Any) -> Sources:
    nothing: dict[str, Any] = {"accounts": list, "usage_rows": dict, "running": list}
    return Sources(**(nothing | given), clock=lambda: NOW)


def samples(counters: Counters, read: Sources | None = None) -> Mapping[tuple[str, frozenset[Any]], float]:
    """Every figure by name and labels; both formats must say the same."""
    texts = [exposition(counters, read or sources(), accept)[0].decode() for accept in ("text/plain", OPEN)]
    plain, full = (
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse(text)
            for sample in family.samples
        }
        for parse, text in zip((plain_text, open_metrics), texts, strict=True)
    )
    assert plain == full
    return plain


def at(found: Mapping[tuple[str, frozenset[Any]], float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_turns_are_counted_by_api_model_and_end() -> None:
    found = samples(
        counted(
            turn_ended(metered=0.25),
            turn_ended(metered=0.5),
            turn_ended(end=Left()),
            turn_ended(None, end=Failed(failure("KA-QUOTA")), first_byte=None),
        )
    )

    same = {"surface": "/v1/messages", "model": "claude-sonnet-4.5"}
    assert at(found, "kiro_turns_total", outcome="answered", **same) == 2
    assert at(found, "kiro_turns_total", outcome="left", **same) == 1
    assert at(found, "kiro_turns_total", surface="/v1/messages", model="none", outcome="KA-QUOTA") == 1
    assert at(found, "kiro_credits_total", account="Account a", model="claude-sonnet-4.5") == 0.75
    assert at(found, "kiro_tokens_total", model="claude-sonnet-4.5", direction="input") == 30


def test_times_are_in_the_buckets_of_a_histogram() -> None:
    found = samples(counted(*(turn_ended(first_byte=s, seconds=s * 4) for s in (0.5, 0.6, 4.0))))

    surface = {"surface": "/v1/messages"}
    buckets = [at(found, "kiro_first_byte_seconds_bucket", le=le, **surface) for le in ("0.5", "1.0", "5.0")]
    assert buckets == [1, 2, 3]
    assert at(found, "kiro_first_byte_seconds_bucket", le="+Inf", **surface) == 3
    assert at(found, "kiro_first_byte_seconds_count", **surface) == 3
    assert at(found, "kiro_turn_seconds_sum", **surface) == pytest.approx(20.4)


def test_retries_are_counted_by_cause_and_renewals_by_their_end() -> None:
    counters = counted(turn_ended(attempts=(failure("KA-THROTTLE"), failure("KA-CAPACITY"))))
    found = samples(counters)

    assert at(found, "kiro_retries_total", cause="account", code="KA-THROTTLE") == 1
    assert at(found, "kiro_retries_total", cause="service", code="KA-CAPACITY") == 1


async def test_each_renewal_of_a_token_is_counted_and_goes_its_way() -> None:
    counters = Counters()
    trouble = [TurnFailed(failure("KA-SIGNIN"))]

    async def refresh(_: Account) -> TokenGrant:
        if trouble:
            raise trouble.pop()
        return TokenGrant("t", "r", 60)

    counting, account = counters.counting(refresh), Account(id="a")
    with pytest.raises(TurnFailed):
        await counting(account)
    assert (await counting(account)).access_token == "t"

    found = samples(counters)
    assert at(found, "kiro_token_refreshes_total", outcome="KA-SIGNIN") == 1
    assert at(found, "kiro_token_refreshes_total", outcome="renewed") == 1


def test_accounts_plans_and_running_turns_are_those_of_the_moment(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.store.change_account("b", {"state": "cooling", "stateUntil": (NOW + 60) * 1000})
    turn = Running(
        began=NOW, surface="/v1/messages", client=None, model="m", stream=True, account=None,
        first_byte=None, attempts=(),
    )  # fmt: skip
    speaking = Running(**{**{f: getattr(turn, f) for f in turn.__struct_fields__}, "first_byte": 1.0})
    found = samples(
        Counters(),
        sources(
            accounts=stage.pool.accounts,
            usage_rows=lambda: {"a": {"usedCount": 3.5, "limitCount": 50, "creditsSince": 0.5}},
            running=lambda: [turn, speaking],
        ),
    )

    assert at(found, "kiro_account_state", account="Account a", state="ready") == 1
    assert at(found, "kiro_account_state", account="Account b", state="cooling") == 1
    assert at(found, "kiro_account_state", account="Account b", state="ready") == 0
    assert at(found, "kiro_plan_credits_used", account="Account a") == 4
    assert at(found, "kiro_plan_credits_limit", account="Account a") == 50
    assert (at(found, "kiro_turns_running"), at(found, "kiro_streams_open")) == (2, 1)


def test_accounts_that_cannot_be_read_cost_no_other_figure() -> None:
    def unreadable() -> list[Account]:
        raise StoreFailed(failure("KA-STORE"))

    found = samples(counted(turn_ended()), sources(accounts=unreadable))

    assert at(found, "kiro_accounts_readable") == 0
    assert any(name == "kiro_turns_total" for name, _ in found)


def test_nobody_makes_the_figures_grow_by_asking_for_many_models() -> None:
    counters = Counters()
    for number in range(500):
        served = turn_ended().served
        assert served is not None
        changed = {"account": "a", "account_name": f"n{number}", "model": f"model-{number}\n\"'"}
        counters.on_turn_ended(turn_ended(served=type(served)(**changed), surface=f"/v1/{number}"))
        counters.on_turn_ended(turn_ended(None, end=Failed(failure("KA-MODEL"))))

    found = samples(counters)

    models = {dict(labels).get("model") for name, labels in found if name == "kiro_turns_total"}
    assert len(models) == MOST_MODELS + 2
    assert {"none", "other"} <= models
    assert len(found) < 2000


def test_every_figure_is_explained_and_none_else(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "a")
    read = sources(accounts=stage.pool.accounts, usage_rows=lambda: {"a": {"usedCount": 1, "limitCount": 2}})
    text = exposition(Counters(), read, "")[0].decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    page = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text()
    board = (Path(__file__).parents[2] / "docs" / "grafana.json").read_text()

    assert set(re.findall(r"`(kiro_\w+)`", page)) == families
    asked = {re.sub("_bucket$", "", name) for name in re.findall(r"kiro_[a-z_]+", board)}
    assert asked <= families
