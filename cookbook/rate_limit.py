"""At most N calls a minute, however many nodes want one: a hook that waits before each exec.

    python -m cookbook.rate_limit [N]     (default: 600 a minute; 20 calls, so about 2 seconds)

The limit stands outside of the nodes, so one hook serves all flows of a program. An async node
would block the loop if the hook slept, so its calls take their turn in `exec_async` instead:
`await limit.turn()`. Both are here.
"""

import asyncio
import time

from cookbook.terminal import number, run
from pocketflow import AsyncParallelBatchNode, BatchNode
from pocketflow.hooks import Hook


class RateLimit(Hook):
    """Gives out turns that are `60 / per_minute` seconds apart. `clock` and `sleep` are seconds."""

    def __init__(self, per_minute, clock=time.monotonic, sleep=time.sleep):
        self.interval, self.clock, self.sleep = 60 / per_minute, clock, sleep
        self.next_turn = clock()

    def wait(self):
        """Seconds until the turn that is taken now."""
        now = self.clock()
        turn = max(self.next_turn, now)
        self.next_turn = turn + self.interval
        return turn - now

    def on_start(self, step):
        if step.kind == "exec":
            self.sleep(self.wait())

    async def turn(self):
        await asyncio.sleep(self.wait())


class Calls(BatchNode):
    def prep(self, shared):
        return range(10)

    def exec(self, item):
        return time.monotonic()

    def post(self, shared, items, times):
        shared["times"] += times


class AsyncCalls(AsyncParallelBatchNode):
    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    async def prep_async(self, shared):
        return range(10)

    async def exec_async(self, item):
        await self.limit.turn()
        return time.monotonic()

    async def post_async(self, shared, items, times):
        shared["times"] += times


def main():
    per_minute = number(600)
    shared, limit = {"times": []}, RateLimit(per_minute)
    with limit:
        Calls().run(shared)
    asyncio.run(AsyncCalls(limit).run_async(shared))
    times = sorted(shared["times"])
    rate = (len(times) - 1) / (times[-1] - times[0]) * 60
    print(f"{len(times)} calls at {rate:.0f} a minute, of {per_minute} that are allowed.")


if __name__ == "__main__":
    run(main)
