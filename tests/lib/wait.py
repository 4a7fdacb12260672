# SPDX-License-Identifier: BSD-3-Clause
"""The one place where a test may wait: for a condition, with a deadline and a name."""

import time


class Late(AssertionError):
    """The condition did not come true in time."""


def wait_until(condition, what, timeout=10.0, every=0.02):
    """Polls until `condition()` is true and returns its value. `what` names it in the failure.

    An exception of the condition counts as "not yet" and is shown when time is up.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"last value: {value!r}"
        except (OSError, LookupError, ValueError, AssertionError) as e:
            last = f"last error: {e!r}"
        if time.monotonic() >= deadline:
            raise Late(f"not within {timeout:g} s: {what} ({last})")
        time.sleep(every)


def observe(seconds):
    """Lets time pass while something is measured over it. Never to wait for an event."""
    time.sleep(seconds)
