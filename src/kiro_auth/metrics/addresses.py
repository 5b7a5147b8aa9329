"""Where the metrics are."""

from __future__ import annotations

from typing import Final

PATH: Final = "/metrics"
