"""The file `kiro.json` for people who edit it: its JSON Schema, and the first one that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.config import FILE
from kiro_auth.options import ENDPOINT, OPTIONS, ROLES, USAGE_TOASTS, WITHOUT_EFFECT
from kiro_auth.regular_files import make_folder

SCHEMA_FILE: Final = "kiro.schema.json"


def schema() -> dict[str, Any]:
    """The JSON Schema of `kiro.json`, made of the same definitions that read it."""
    options = {
        option.name: {
            "description": f"{option.help} Environment: {option.variable}",
            **(option.kind.schema if option.default is not None else _or_null(option.kind.schema)),
            "default": option.default,
        }
        for option in OPTIONS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "opencode-kiro-auth",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            **options,
            "endpoints": _endpoints(),
            **{
                option.other_name: _deprecated(f"Say {option.name}.")
                for option in OPTIONS
                if option.other_name
            },
            USAGE_TOASTS: _deprecated("Say toast_level."),
            **{name: _deprecated("No effect.") for name in WITHOUT_EFFECT},
        },
        "additionalProperties": False,
    }


def _deprecated(instead: str) -> dict[str, Any]:
    return {"description": instead, "deprecated": True}


def _or_null(kind: Any) -> dict[str, Any]:
    return {"anyOf": [kind, {"type": "null"}]}


def _endpoints() -> dict[str, Any]:
    entry = {
        "type": "object",
        "properties": {name: kind.schema for name, kind in ENDPOINT.items()},
        "required": ["url"],
        "additionalProperties": False,
    }
    one = {"anyOf": [ENDPOINT["url"].schema, entry]}
    several = {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}
    return {
        "description": "Addresses to use instead of the built-in ones, by role.",
        "type": "object",
        "properties": dict.fromkeys(ROLES, several),
        "additionalProperties": False,
    }


def published() -> str:
    """The schema as it is shipped."""
    from importlib.resources import files  # brings packers of archives; it is read once for each user

    return (files("kiro_auth") / SCHEMA_FILE).read_text(encoding="utf-8")


def write_template(folder: Path) -> None:
    """Write a `kiro.json` with every default, and its schema beside it, unless there is one.

    It is a convenience: where it cannot be written nothing is said.  The original plugin reads it as well,
    so it holds no comments.
    """
    path = folder / FILE
    if path.exists() or path.is_symlink():  # a link to nothing may be to dotfiles that are not there yet
        return
    values = {option.name: option.default for option in OPTIONS if option.default is not None}
    body = msgspec.json.encode({"$schema": f"./{SCHEMA_FILE}", **values})
    try:
        make_folder(folder)
        for file, text in (
            (folder / SCHEMA_FILE, published().encode()),
            (path, msgspec.json.format(body, indent=2)),
        ):
            clear_leftovers(file)  # of a gateway that was killed right here
            replace_file(file, text)
    except OSError:
        return
