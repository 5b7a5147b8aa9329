"""Whether the options of `kiro.json` and of the environment can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kiro_auth.config import Config, unread_file
from kiro_auth.doctor.finding import Finding, failed
from kiro_auth.options import OPTIONS


def configuration(config: Config) -> Iterator[Finding]:
    """Options that cannot be used or are not read, and which differ from their defaults."""
    unread = unread_file(Path())
    stopping = [*config.unknown_endpoints.values(), *([config.unknown_store] if config.unknown_store else ())]
    for problem in (*config.problems, *([unread] if unread else ())):
        stops = next((failure for failure in stopping if failure.message.startswith(problem.message)), None)
        yield failed("configuration", "fault" if stops else "warning", stops or problem)
    own = [option.name for option in OPTIONS if getattr(config, option.name) != option.default]
    redirected = [f"endpoints.{role}" for role, urls in config.endpoints.items() if urls]
    if own or redirected:
        text = f"differs from the defaults: {', '.join(own + redirected)} (kiro-auth config show)"
        yield Finding("configuration", "ok", text)
    elif not config.problems:
        yield Finding("configuration", "ok", "all options have their defaults")
