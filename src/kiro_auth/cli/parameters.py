"""Options and arguments of a command as people read them: their names, and the values they take."""

from __future__ import annotations

from typing import Any


def shown_name(parameter: Any) -> str:
    """What people type for it: --port, NAME."""
    long = [name for name in parameter.opts if name.startswith("--")]
    return long[0] if long else metavar(parameter)


def metavar(parameter: Any) -> str:
    """The word that stands for its value: the one that is given, else the last of its own name."""
    if parameter.metavar:
        return str(parameter.metavar)
    name = str(parameter.name).upper()
    return name if parameter.param_type_name == "argument" else name.rpartition("_")[2]


def takes(parameter: Any) -> str:
    """What its value must be; nothing where any text may be one."""
    kind = parameter.type_descriptor
    least, most = kind.parameter_info.min, kind.parameter_info.max
    if kind.choices:
        return either([str(getattr(choice, "value", choice)) for choice in kind.choices])
    number = {int: "a whole number", float: "a number"}.get(kind.annotation)
    if number is None:
        return ""
    if least is not None and most is not None:
        return f"{number} from {least} to {most}"
    return f"{number}, {least} or more" if least is not None else number


def either(words: list[str]) -> str:
    """`a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def help_row(parameter: Any) -> tuple[str, str] | None:
    """The line of the help: how it is typed, and what it does; None for one that is not shown."""
    if parameter.hidden:
        return None
    text = parameter.help or ""
    if parameter.param_type_name == "argument":
        allowed = takes(parameter)
        return metavar(parameter), f"{text.rstrip('.')}: {allowed}." if allowed else text
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {metavar(parameter)}", text
