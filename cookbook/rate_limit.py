"""At most N calls a minute, however many nodes want one: a hook that waits before each attempt.

    python -m cookbook.rate_limit [N]     (default: 1200 a minute; 20 calls, so about a second)

The limit stands outside of the nodes, so one hook serves all flows of a program. Where the exec is
awaited the hook returns an awaitable, and the event loop is free while it waits. To limit how many
calls run at once, see `web_service`.
"""

import asyncio
import time

from cookbook.terminal import number, run
from pocketflow import AsyncParallelBatchNode, BatchNode
from pocketflow.hooks import Hook


class RateLimit(Hook):
    """Gives out turns that are `60 / per_minute` seconds apart. `clock` gives seconds."""

    def __init__(self, per_minute, clock=time.monotonic):
        self.interval, self.clock = 60 / per_minute, clock
        self.next_turn = clock()

    def take_turn(self, wait=0):
        """Seconds until the turn that is taken now, not counting the first `wait` of them."""
        earliest = self.clock() + wait
        turn = max(self.next_turn, earliest)
        self.next_turn = turn + self.interval
        return turn - earliest

    def on_start(self, step):
        if step.kind == "exec":
            return self.sleep(step, self.take_turn())

    def on_retry(self, step, error, attempt, wait):
        return self.sleep(step, self.take_turn(wait))  # after which the node waits for `wait` seconds

    def sleep(self, step, seconds):
        return asyncio.sleep(seconds) if step.loop else time.sleep(seconds)


class Calls(BatchNode):
    def prep(self, shared):
        return range(10)

    def exec(self, item):
        return time.monotonic()

    def post(self, shared, items, times):
        shared["times"] += times


class AsyncCalls(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return range(10)

    async def exec_async(self, item):
        return time.monotonic()

    async def post_async(self, shared, items, times):
        shared["times"] += times


def main():
    per_minute = number(1200)
    shared = {"times": []}
    with RateLimit(per_minute):
        Calls().run(shared)
        asyncio.run(AsyncCalls().run_async(shared))
    times = sorted(shared["times"])
    rate = (len(times) - 1) / (times[-1] - times[0]) * 60
    print(f"{len(times)} calls at {rate:.0f} a minute, of {per_minute} that are allowed.")


if __name__ == "__main__":
    run(main)
