"""Which options count now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Final

from kiro_auth.config import Config
from kiro_auth.options import KEY_VARIABLE, OPTIONS, Option

RELOAD: Final = "/kiro/reload"
"""Where a gateway takes its options anew (POST), or says what would come of that (GET)."""
FILES: Final = "files"
"""The value of the options `store` and `secrets` for files."""
SQLITE: Final = "sqlite"
"""The value of the option `store` for one SQLite file; the ledger is in its own file then, as with files."""
KEYRING: Final = "keyring"
"""The value of the option `secrets` for the system's keyring."""


def environment_key() -> str:
    """The API key of the environment, or nothing."""
    return os.environ.get(KEY_VARIABLE, "").strip()


def options_in_force(config: Config) -> str:
    """Eight digits that tell the options that count here from others, with the key of the environment.

    What the command line sets for one gateway is not among them: others cannot know it.
    """
    values = {**{option.name: getattr(config, option.name) for option in OPTIONS}, **config.without_given}
    # Escaped to ASCII: the key may be of bytes that are no text.
    endpoints = [config.endpoints, sorted(config.unknown_endpoints)]
    in_force = ascii([values, endpoints, environment_key()])
    return hashlib.sha256(in_force.encode()).hexdigest()[:8]


def not_as_by_default(config: Config) -> Mapping[str, Any]:
    """The options that somebody set, by name.  A value that may tell of a person or a place is `set`."""
    values = {option.name: (option, getattr(config, option.name)) for option in OPTIONS}
    options = {
        name: value if _is_harmless(option) else "set"
        for name, (option, value) in values.items()
        if value != option.default
    }
    return options | {f"endpoints.{role}": "set" for role, urls in config.endpoints.items() if urls}


def _is_harmless(option: Option) -> bool:
    """Whether its value is one of a few words, a number or a switch."""
    schema = option.kind.schema
    return "enum" in schema or schema.get("type") in ("integer", "boolean")
