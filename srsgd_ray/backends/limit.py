"""A time limit for what may hang: a dead file system, a store that nobody answers for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def within(seconds: float, call: Callable[..., Any], *given: Any) -> Any:
    """``call(*given)``, waited for so long; a call that hangs stays behind in a thread.

    Raises:
        TimeoutError: if it has not returned by then.
        Exception: what it raised.
    """
    return begin(call, *given)(seconds)


def begin(call: Callable[..., Any], *given: Any) -> Callable[[float], Any]:
    """Begin ``call(*given)``; gives what waits for it, as :func:`within` does."""
    result: list[Any] = []
    error: list[Exception] = []

    def work() -> None:
        try:
            result.append(call(*given))
        except Exception as raised:
            error.append(raised)

    thread = threading.Thread(target=work, daemon=True, name="limited")
    thread.start()

    def wait(seconds: float) -> Any:
        thread.join(seconds)
        if error:
            raise error[0]
        if not result:
            raise TimeoutError(f"no answer within {seconds:g} s")
        return result[0]

    return wait
