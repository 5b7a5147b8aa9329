"""`kiro-auth explain`: what a code means, what leads to it, and what to do."""

from __future__ import annotations

import difflib
import shutil
import sys
import textwrap
from typing import Any

import typer

from kiro_auth.cli.output import print_json
from kiro_auth.failures import CATALOGUE, ConfigFailed, Failure

CODE = typer.Argument(None, metavar="[CODE]", help="Such as KA-QUOTA or quota; without it all are listed.")


def explain(code: str | None = CODE, json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Explain the code in a message: what it means, what leads to it, and what to do."""
    if code is not None:
        _explain(_known(code), json)
    elif json:
        print_json({"codes": [_page(known) for known in CATALOGUE]})
    else:
        print("\n".join(_line(known, entry.title) for known, entry in CATALOGUE.items()))
        print("\nMore about one of them: kiro-auth explain CODE")


def _line(code: str, title: str) -> str:
    """A code and its meaning; what does not fit in the terminal goes on below the meaning."""
    start = code.ljust(max(map(len, CATALOGUE)) + 2)
    if not sys.stdout.isatty():
        return start + title
    return _wrapped(title, " " * len(start)).replace(" " * len(start), start, 1)


def _known(code: str) -> str:
    """The code that is meant, in any case, with or without `KA-`.  Raises ConfigFailed."""
    name = "KA-" + code.strip().strip("().").upper().replace("_", "-").removeprefix("KA-")
    if name in CATALOGUE:
        return name
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    meant = f" {near[0]} is the nearest." if near else ""
    raise ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"There is no code {code[:40]!r}.{meant}\n{_wrapped(', '.join(CATALOGUE))}",
            next_step="What each means, in a line: kiro-auth explain",
        )
    )


def _page(code: str) -> dict[str, Any]:
    from kiro_auth.accounts.health import STATE_AFTER
    from kiro_auth.explanations import CAUSES

    entry = CATALOGUE[code]
    return {
        "code": code,
        "means": entry.title,
        "causes": CAUSES[code],
        "whatToDo": entry.remedy,
        "passes": entry.passing,
        "accountState": STATE_AFTER.get(code),
    }


def _explain(code: str, json: bool) -> None:
    from kiro_auth.accounts.view import words_after

    page = _page(code)
    if json:
        print_json(page)
        return
    print(_wrapped(f"{code}: {page['means']}"))
    print("\nWhat leads to it\n" + _wrapped(page["causes"], "  "))
    print("\nWhat to do\n" + _wrapped(page["whatToDo"], "  "))
    if page["passes"]:
        print(_wrapped("It may pass by itself: the same request can succeed later.", "  "))
    if state := page["accountState"]:
        words = words_after(code, state)
        print(_wrapped(f"The account is {words} from then on: see kiro-auth accounts", "  "))


def _wrapped(text: str, indent: str = "") -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
