"""How the simulated services say no."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An exception of the Kiro service, as its published model names it.  `status` is the REST status."""

    def __init__(self, type_: str, message: str, reason: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.type = type_
        self.message = message
        self.reason = reason
        self.status = status

    def json(self) -> dict[str, Any]:
        """The error's body."""
        return {
            "__type": f"com.amazon.aws.codewhisperer#{self.type}",
            "message": self.message,
            "reason": self.reason,
        }


def invalid(reason: str, message: str = "Improperly formed request.") -> Refusal:
    """A request that breaks a rule of the service."""
    return Refusal("ValidationException", message, reason, 400)


def denied(message: str, reason: str | None = None) -> Refusal:
    """A bearer that may not do this."""
    return Refusal("AccessDeniedException", message, reason, 403)
