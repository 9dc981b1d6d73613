"""How often somebody may ask: token buckets, one for each caller."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT = 10_000
"""Callers that are remembered; who has not asked for longest is forgotten first, with a full bucket by then."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bucket gives."""

    a_second: float
    burst: float
    """Most at once."""


REQUESTS = Rate(100.0, 3000.0)
"""A page of a large group shows 500 pictures of faces, each a request."""
SEARCHES = Rate(2.0, 30.0)
"""Each takes the networks a tenth of a second or more."""
FAILURES = Rate(0.1, 10.0)
"""Wrong tokens."""


class Buckets:
    """A bucket for each caller.

    Args:
        rate: how fast each is filled, and how much it holds.
        clock: seconds.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turn = threading.Lock()

    def take(self, caller: str) -> float:
        """Take one from a caller's bucket; return 0, or how many seconds there will be none."""
        with self._turn:
            now = self._clock()
            held, since = self._filled.pop(caller, (self._rate.burst, now))
            held = min(self._rate.burst, held + (now - since) * self._rate.a_second)
            wait = 0.0 if held >= 1.0 else (1.0 - held) / self._rate.a_second
            self._filled[caller] = (held if wait else held - 1.0, now)
            while len(self._filled) > KEPT:
                self._filled.popitem(last=False)
            return wait


@dataclass(frozen=True, slots=True)
class Limits:
    """How often each caller may ask, search, and show a wrong token."""

    requests: Buckets = field(default_factory=lambda: Buckets(REQUESTS))
    searches: Buckets = field(default_factory=lambda: Buckets(SEARCHES))
    failures: Buckets = field(default_factory=lambda: Buckets(FAILURES))
