"""A signal that arrives while octet works."""

import contextlib
import signal

import pytest


@contextlib.contextmanager
def interrupted_after(seconds):
    """What runs inside is interrupted after so long, as by Ctrl-C, and must raise that."""

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
