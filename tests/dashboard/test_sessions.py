"""Links that are good once, and sessions that end."""

from __future__ import annotations

from kiro_auth.dashboard.sessions import LINK_SECONDS, MOST, SESSION_SECONDS, Sessions, is_right


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_link_makes_one_session_and_no_second() -> None:
    sessions = Sessions()
    link = sessions.new_link()

    cookie = sessions.redeem(link)

    assert cookie is not None
    assert sessions.find(cookie) is not None
    assert sessions.redeem(link) is None


def test_a_link_waits_for_a_short_while_and_a_session_ends_after_a_day_s_work() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    late = sessions.new_link()
    cookie = sessions.redeem(sessions.new_link())
    clock.now += LINK_SECONDS + 1
    assert sessions.redeem(late) is None

    session = sessions.find(cookie)
    assert session is not None
    assert sessions.is_open(session)
    clock.now += SESSION_SECONDS
    assert not sessions.is_open(session)
    assert sessions.find(cookie) is None


def test_what_is_no_cookie_of_ours_has_no_session() -> None:
    sessions = Sessions()
    sessions.redeem(sessions.new_link())

    for other in (None, "", "x", "\udcff", "a" * 100_000):
        assert sessions.find(other) is None
        assert sessions.redeem(other or "") is None


def test_the_oldest_give_way_so_that_nobody_fills_the_memory() -> None:
    sessions = Sessions()
    links = [sessions.new_link() for _ in range(MOST + 1)]
    assert sessions.redeem(links[0]) is None
    cookies = [sessions.redeem(link) for link in links[1:]]
    assert sessions.find(cookies[0]) is not None
    sessions.redeem(sessions.new_link())
    assert sessions.find(cookies[0]) is None
    assert sessions.find(cookies[-1]) is not None


def test_people_of_a_company_do_not_end_each_other_s_sessions() -> None:
    sessions = Sessions()
    owner = sessions.begin(None)
    first = {person: sessions.begin(None, person) for person in map(str, range(MOST + 1))}
    again = [sessions.begin(None, "0") for _ in range(MOST)]

    assert sessions.find(owner)
    assert [person for person, cookie in first.items() if not sessions.find(cookie)] == ["0"]
    assert all(map(sessions.find, again))


def test_each_session_has_a_token_of_its_own_for_changes() -> None:
    sessions = Sessions()
    first, second = (sessions.find(sessions.redeem(sessions.new_link())) for _ in range(2))
    assert first is not None
    assert second is not None

    assert is_right(first, first.csrf)
    assert not is_right(first, second.csrf)
    assert not is_right(first, "\udcff")
    sessions.end(first)
    assert not sessions.is_open(first)
    assert sessions.is_open(second)
