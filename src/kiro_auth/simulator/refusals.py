"""How the simulated services say no."""

from __future__ import annotations

from typing import Any, Final

STATUS: Final = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
"""The HTTP status that the published model binds each exception to in the REST dialect."""


class Refusal(Exception):
    """An exception of the Kiro service, as its published model names it.

    `reason` is the service's own word for the rule that was broken.  `status` is the one of the REST
    dialect; left out, it is that of the model, or 400 for a type that is not modelled.
    """

    def __init__(
        self, type_: str, message: str, reason: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.type = type_
        self.message = message
        self.reason = reason
        self.status = STATUS.get(type_, 400) if status is None else status

    def json(self) -> dict[str, Any]:
        """The error's body."""
        return {
            "__type": f"com.amazon.aws.codewhisperer#{self.type}",
            "message": self.message,
            "reason": self.reason,
        }


def invalid(reason: str = "REQUEST_BODY_INVALID", message: str = "Improperly formed request.") -> Refusal:
    """A request that breaks a rule of the service."""
    return Refusal("ValidationException", message, reason)


def denied(message: str, reason: str | None = None) -> Refusal:
    """A bearer that may not do this."""
    return Refusal("AccessDeniedException", message, reason)
