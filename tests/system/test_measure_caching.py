"""`kiro-auth measure caching` against a service that caches in each of the ways that are reported of Kiro."""

from __future__ import annotations

import pytest

from support.programs import Home, Simulator

VERDICTS = {
    "none": "Nothing shows here that Kiro caches, with cache points or without.",
    "prefix": "Kiro caches by itself here; cache points make no difference.",
    "points": "With cache points a warm turn costs less here.",
}


@pytest.fixture
def signed_in(home: Home, simulator: Simulator) -> Home:
    home.run("login", "--builder-id", "--no-browser")
    return home


@pytest.mark.parametrize("caching", VERDICTS)
def test_what_is_printed_is_what_the_service_metered(
    signed_in: Home, simulator: Simulator, caching: str
) -> None:
    simulator.ask("settings", {"caching": caching})

    done = signed_in.run("measure", "caching", "--yes")

    books = [line["credits"] for line in simulator.ask("books")["books"]]
    cold, warm, cold_with, warm_with = books
    lines = done.stdout.splitlines()
    assert lines[1].split()[-3:] == [f"{cold:.4f}", f"{warm:.4f}", f"{warm / cold:.0%}"]
    assert lines[2].split()[-3:] == [f"{cold_with:.4f}", f"{warm_with:.4f}", f"{warm_with / cold_with:.0%}"]
    assert lines[-1] == VERDICTS[caching]
    assert (warm < 0.8 * cold, warm_with < 0.8 * cold_with) == (caching == "prefix", caching != "none")


def test_only_the_turns_with_cache_points_have_them_and_pairs_are_the_same_words(
    signed_in: Home, simulator: Simulator
) -> None:
    turns = signed_in.json("measure", "caching", "--yes", "--rounds", "2")["turns"]

    bodies = [call["body"]["conversationState"] for call in simulator.calls()]
    points = [str(body).count("'cachePoint': {'type': 'default'}") for body in bodies]
    assert points == [0, 0, 2, 2] * 2
    assert bodies[0]["history"] == bodies[1]["history"]
    assert len({str(body["history"]) for body in bodies}) == 4
    assert [(turn["cachePoints"], turn["warm"]) for turn in turns] == [
        (False, False), (False, True), (True, False), (True, True),
    ] * 2  # fmt: skip
    assert [turn["credits"] for turn in turns] == [
        line["credits"] for line in simulator.ask("books")["books"]
    ]
    assert all(7000 < turn["inputTokens"] < 11_000 for turn in turns)


def test_where_the_service_does_not_meter_nothing_is_concluded(signed_in: Home, simulator: Simulator) -> None:
    simulator.script(*[{"steps": [{"text": "ready"}, {"tail": {"withMetering": False}}]}] * 4)

    done = signed_in.run("measure", "caching", "--yes")

    assert done.stdout.count("not said") == 4
    assert "there is nothing to compare" in done.stderr
    assert "cost" not in done.stdout


def test_a_person_is_asked_before_anything_is_sent(signed_in: Home, simulator: Simulator) -> None:
    child = signed_in.terminal("measure", "caching", "--rounds", "3")
    child.expect_exact("12 turns of about 9,000 tokens each go to claude-sonnet-4.5.")
    child.expect(r"What they cost is\s+not known")
    child.expect_exact("Send them? [y/N]: ")
    child.sendline("")
    child.expect_exact("Nothing was sent.")
    child.close()

    unasked = signed_in.run("measure", "caching", check=False)

    assert unasked.returncode != 0
    assert "kiro-auth measure caching --yes" in unasked.stderr
    assert simulator.calls() == []
