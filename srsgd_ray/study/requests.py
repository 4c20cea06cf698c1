"""What a user asks of a study from another terminal: by files in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STOPPED, SKIPPED = "stopped by the user", "skipped by the user"


def by_user(end: Mapping[str, Any]) -> bool:
    """Whether a user ended the trial that ended so."""
    return str(end.get("reason") or "").startswith((STOPPED, SKIPPED))
