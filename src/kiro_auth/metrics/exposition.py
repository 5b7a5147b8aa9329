"""The figures as Prometheus reads them, written by its own library; imported when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from kiro_auth import __version__
from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.usage_row import used_credits
from kiro_auth.accounts.view import STATE_WORDS
from kiro_auth.events import Running
from kiro_auth.failures import KiroAuthError
from kiro_auth.json_values import as_number
from kiro_auth.metrics.counters import MOST_ACCOUNTS, Counters, Histogram

STATES: Final = tuple(STATE_WORDS)


class Sources(Struct, frozen=True):
    """What is read at the moment of the question: the `accounts`, their rows of usage, the running turns.

    The first two may raise KiroAuthError.
    """

    accounts: Callable[[], Sequence[Account]]
    usage_rows: Callable[[], Mapping[str, Mapping[str, Any]]]
    running: Callable[[], Sequence[Running]]
    clock: Callable[[], float] = time.time


def exposition(counters: Counters, sources: Sources, accept: str) -> tuple[bytes, str]:
    """The figures in the format that `accept` asks for, and their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(counters, sources))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Figures(Collector):
    def __init__(self, counters: Counters, sources: Sources) -> None:
        self._counters = counters
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        yield InfoMetricFamily("kiro_gateway", "The gateway that answers.", {"version": __version__})
        yield from _of_turns(self._counters)
        yield from _of_the_moment(self._sources)


def _of_turns(counters: Counters) -> Iterator[Metric]:
    turns = CounterMetricFamily(
        "kiro_turns", "Requests for a reply that ended.", labels=["surface", "model", "outcome"]
    )
    _fill(turns, counters.turns)
    yield turns
    retries = CounterMetricFamily(
        "kiro_retries", "Attempts that failed and were followed by another.", labels=["cause", "code"]
    )
    _fill(retries, counters.retries)
    yield retries
    refreshes = CounterMetricFamily(
        "kiro_token_refreshes", "Renewals of access tokens by how they ended.", labels=["outcome"]
    )
    for how, count in sorted(counters.refreshes.items()):
        refreshes.add_metric([how], count)
    yield refreshes
    spent = CounterMetricFamily(
        "kiro_credits", "Credits that Kiro metered for turns.", labels=["account", "model"]
    )
    _fill(spent, counters.credits)
    yield spent
    tokens = CounterMetricFamily("kiro_tokens", "Tokens of turns.", labels=["model", "direction"])
    _fill(tokens, counters.tokens)
    yield tokens
    yield _histogram("kiro_first_byte_seconds", "Seconds until an answer began.", counters.first_byte)
    yield _histogram("kiro_turn_seconds", "Seconds until a turn ended.", counters.duration)


def _of_the_moment(sources: Sources) -> Iterator[Metric]:
    running = sources.running()
    yield GaugeMetricFamily("kiro_turns_running", "Turns that have not ended.", value=len(running))
    streams = sum(turn.stream and turn.first_byte is not None for turn in running)
    yield GaugeMetricFamily("kiro_streams_open", "Streams that are being written.", value=streams)
    try:
        accounts, rows = list(sources.accounts())[:MOST_ACCOUNTS], sources.usage_rows()
    except KiroAuthError:  # the counters are still worth reading
        yield GaugeMetricFamily("kiro_accounts_readable", "Whether the accounts' file can be read.", value=0)
        return
    yield GaugeMetricFamily("kiro_accounts_readable", "Whether the accounts' file can be read.", value=1)
    now = sources.clock()
    states = GaugeMetricFamily(
        "kiro_account_state", "1 for the state that the account is in.", labels=["account", "state"]
    )
    for account in accounts:
        for state in STATES:
            states.add_metric([account.name, state], health.effective(account, now) == state)
    yield states
    used = GaugeMetricFamily(
        "kiro_plan_credits_used", "Credits of the plan that are used.", labels=["account"]
    )
    limit = GaugeMetricFamily("kiro_plan_credits_limit", "Credits that the plan holds.", labels=["account"])
    for account in accounts:
        row = rows.get(account.id, {})
        if (spent := used_credits(row)) is not None:
            used.add_metric([account.name], spent)
        if (most := as_number(row.get("limitCount"))) is not None:
            limit.add_metric([account.name], most)
    yield used
    yield limit


def _fill(family: CounterMetricFamily, counts: Mapping[Any, float]) -> None:
    for labels, count in sorted(counts.items()):
        family.add_metric(list(labels), count)


def _histogram(name: str, words: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, words, labels=["surface"])
    for surface, histogram in sorted(histograms.items()):
        bounds = [*(str(bound) for bound in histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric([surface], buckets, histogram.sum)
    return family
