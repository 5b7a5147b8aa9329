"""What time it is for the services."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.edge.clock import TOLERANCE, ServiceClock

NOW = 1_795_600_000.0


def clock() -> ServiceClock:
    return ServiceClock(lambda: NOW)


@given(st.integers(-(10**8), 10**8))
def test_the_services_time_counts_unless_it_is_as_good_as_ours(ahead: int) -> None:
    found = clock()
    found.heard(formatdate(NOW + ahead, usegmt=True))

    assert found.now() == NOW + (ahead if abs(ahead) >= TOLERANCE else 0)


def test_a_clock_that_was_set_right_meanwhile_is_believed_again() -> None:
    found = clock()
    found.heard(formatdate(NOW + 7200, usegmt=True))
    found.heard(formatdate(NOW + 1, usegmt=True))

    assert found.now() == NOW


@pytest.mark.parametrize(
    "date",
    [None, "", "yesterday", "Wed, 99 Xyz 2026", "9" * 500, "Fri, 6 Nov 99999999999999 8:49:37 GMT",
     "Fri, 99999999999999 Nov 2026 8:49:37 GMT", "Fri, 6 Nov 2026 99999999999:49:37 GMT"],
)  # fmt: skip
def test_what_is_no_date_changes_nothing(date: str | None) -> None:
    found = clock()
    found.heard(date)

    assert found.now() == NOW


def test_a_difference_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    found = clock()
    for seconds in (7200, 7201, 7199, 7200):
        found.heard(formatdate(NOW + seconds, usegmt=True))

    assert [record.message for record in caplog.records] == [
        "This machine's clock differs from the clock of AWS by -7200 seconds."
    ]
