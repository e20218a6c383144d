"""Exponential backoff with jitter: a `wait` to copy, for a service that is busy or says when to come back.

    python -m cookbook.backoff

Twenty calls at once meet a service that serves five at a time and refuses the others. If those all
waited 1, 2, 4... seconds they would come back together, and most would be refused again; waiting a
random part of that time spreads them out. Expect the same calls without jitter and with it.
"""

import asyncio
import random
import re
import time

from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncParallelBatchNode

CALLS = 20
CAPACITY = 5
SECONDS = 0.01  # how long the service takes for a call


def backoff(base=1.0, cap=60.0, rng=random.random):
    """For a node's `wait=`: a random part of 1, 2, 4... times `base` seconds, at most `cap`; None gives up.

    If the service says how long to wait (Retry-After), the random part comes on top of that.
    """

    def wait(attempt, error):
        if not worth_retrying(error):
            return None
        return seconds_asked_for(error) + rng() * min(cap, base * 2**attempt)

    return wait


def worth_retrying(error):
    """Whether the same call may succeed later: by its HTTP status, or by the name of its class (openai, httpx, ...)."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return status in (408, 429) or status >= 500
    return any(re.search("connect|network|timeout", kind.__name__, re.IGNORECASE) for kind in type(error).__mro__)


def seconds_asked_for(error):
    """The seconds that the service asks for, 0 if it does not; a date is not read."""
    told = getattr(getattr(error, "response", None), "headers", {}).get("retry-after", "")
    return float(told) if re.fullmatch(r"\d+(\.\d+)?", told) else 0.0


class Call(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return [shared["service"]] * CALLS

    async def exec_async(self, service):
        return await service.call()

    async def post_async(self, shared, items, answers):
        shared["answers"] = answers


class Busy(Exception):
    status_code = 429


class Service:
    """Serves `CAPACITY` calls at once, and refuses what comes meanwhile."""

    def __init__(self):
        self.calls = self.running = 0

    async def call(self):
        self.calls += 1
        if self.running == CAPACITY:
            raise Busy("too many requests")
        self.running += 1
        await asyncio.sleep(SECONDS)
        self.running -= 1
        return "fine"


def measure(title, wait):
    shared, start = {"service": Service()}, time.perf_counter()
    asyncio.run(AsyncFlow(start=Call(max_retries=10, wait=wait)).run_async(shared))
    seconds = time.perf_counter() - start
    print(f"{title}: {len(shared['answers'])} answers after {shared['service'].calls} attempts, in {seconds:.2f} s.")


def main():
    measure("without jitter", backoff(base=0.05, rng=lambda: 1))
    measure("with jitter", backoff(base=0.05))


if __name__ == "__main__":
    run(main)
