"""Waiting for something another process does: the only place that sleeps."""

import time


def until(what: str, ready, timeout_s: float = 20.0, poll_s: float = 0.02):
    """Calls `ready` until it returns something true and returns that; fails after `timeout_s`, naming `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(poll_s)


def pause(seconds: float) -> None:
    """Lets time pass where a test is about time passing (a flush interval that must not have struck)."""
    time.sleep(seconds)
