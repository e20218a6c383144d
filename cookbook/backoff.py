"""Backoff with jitter: a `wait` to copy, for a service that is busy or asks to be left alone.

    python -m cookbook.backoff

Twenty calls at once meet a service that is down at first. If all waited 1, 2, 4... seconds they
would come back together, and knock it over again; a random share of that spreads them. Expect one
line with the attempts that it took and how far apart they were.
"""

import asyncio
import random
import time

from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncParallelBatchNode

CALLS = 20
DOWN = 0.1  # seconds
WORTH_RETRYING = (ConnectionError, TimeoutError)


def backoff(first=1.0, most=60.0, share=random.random):
    """For a node's `wait=`: a random share of 1, 2, 4... times `first` seconds, at most `most`; None gives up."""

    def wait(attempt, error):
        if not isinstance(error, WORTH_RETRYING):
            return None
        return share() * min(most, first * 2**attempt)

    return wait


class Call(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return [shared["service"]] * CALLS

    async def exec_async(self, service):
        return await service.call()

    async def post_async(self, shared, items, answers):
        shared["answers"] = answers


class Service:
    """Refuses all calls until `DOWN` seconds are over."""

    def __init__(self):
        self.started, self.times = time.monotonic(), []

    async def call(self):
        seconds = time.monotonic() - self.started
        self.times.append(seconds)
        if seconds < DOWN:
            raise ConnectionError("the service is down")
        return "fine"


flow = AsyncFlow(start=Call(max_retries=10, wait=backoff(first=0.05)))


async def call_all():
    shared = {"service": Service()}
    await flow.run_async(shared)
    times = shared["service"].times
    after = [seconds for seconds in times if seconds >= DOWN]
    print(f"{len(shared['answers'])} answers after {len(times)} attempts, spread over {max(after) - DOWN:.2f} seconds.")


def main():
    asyncio.run(call_all())


if __name__ == "__main__":
    run(main)
