"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Between two looks: short beside what is waited for, long beside what a look costs.
PAUSE = 0.05


def until(look: Callable[[], T], what: str, timeout: float = 30) -> T:
    """The first true thing that `look` returns; an `AssertionError` that names `what` and the last look, if none comes.

    The timeout is how long a loaded machine may take, not how long anything should.
    """
    end = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s for {what}; the last look was {seen!r}")
        time.sleep(PAUSE)
