"""The pages of `--help`: commands in panels, nothing cut, examples at the end."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from kiro_auth.cli.parameters import help_row, metavar
from kiro_auth.cli.terminal import styled

HELP_NAMES: Final = {"help_option_names": ["-h", "--help"]}
_OTHERS: Final = "Commands"
"""The heading of commands that are in no panel."""

F = TypeVar("F", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """The end of a command's help: lines to copy."""
    return "\n".join(lines)


class Commands(typer.Typer):
    """A Typer whose commands have these pages."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            cls=Group,
            context_settings=HELP_NAMES,
            rich_markup_mode=None,
            add_completion=False,
            pretty_exceptions_enable=False,
            **settings,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """As Typer's, for a `Command`."""
        return super().command(name, cls=Command, **settings)


class _Page:
    """How options, arguments and examples are written; for commands and for groups of them."""

    epilog: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        raise NotImplementedError

    def usage_pieces(self, ctx: Any) -> list[str]:
        arguments = (p for p in self.get_params(ctx) if p.param_type_name == "argument")
        return ["[OPTIONS]", *(metavar(p) if p.required else f"[{metavar(p)}]" for p in arguments)]

    def write_parameters(self, ctx: Any, formatter: Any) -> None:
        for heading, kind in (("Arguments", "argument"), ("Options", "option")):
            shown = [row for p in self.get_params(ctx) if p.param_type_name == kind and (row := help_row(p))]
            if shown:
                with formatter.section(_heading(heading)):
                    formatter.write_dl(shown)

    def write_examples(self, formatter: Any) -> None:
        if self.epilog:
            with formatter.section(_heading("Examples")):
                for line in self.epilog.split("\n"):
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(TyperCommand, _Page):
    """A verb."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name in the first line."""
        return self.usage_pieces(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        self.write_parameters(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        self.write_examples(formatter)


class Group(TyperGroup, _Page):
    """A verb with verbs below it, listed by panel, each with the first sentence of its help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels; `rich_help_panel` of a command names its own.  The options come last."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or _OTHERS
                panels.setdefault(panel, []).append((name, _first_sentence(command.help or "")))
        room = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
        for panel, rows in panels.items():
            rows.sort(key=lambda row: not hasattr(self.commands[row[0]], "commands"))  # groups first
            with formatter.section(_heading(panel)):
                formatter.write_dl([(f"{name:{room}}", text) for name, text in rows])
        self.write_parameters(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        self.write_examples(formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant.  Raises BadParameter, which names the nearest one, if there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean: {ctx.command_path} {near[0]}?" if near else ""
            raise typer.BadParameter(f"There is no command {ctx.command_path} {name}.{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)


def _heading(text: str) -> str:
    return styled(text, "bold", sys.stdout)


def _first_sentence(text: str) -> str:
    """The first sentence, without its stop."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[A-Za-z)`])[.;](?: |$)", paragraph)[0]
