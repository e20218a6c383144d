"""Work that keeps a core busy, on all cores: the same node on a thread and on processes.

    python -m cookbook.cpu_batch [LIMIT]

Counts the primes below LIMIT (default 400000) in eight ranges, first one after the other, then
on as many processes as there are cores, and prints the speed-up that it measured.
"""

import asyncio
import itertools
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from cookbook.terminal import number, run
from pocketflow import AsyncFlow
from pocketflow.executors import ExecutorBatchNode

PARTS = 8


class CountPrimes(ExecutorBatchNode):
    def prep(self, shared):
        bounds = [shared["limit"] * part // PARTS for part in range(PARTS + 1)]
        return list(itertools.pairwise(bounds))

    def exec(self, bounds):
        return sum(is_prime(number) for number in range(*bounds))

    def post(self, shared, bounds, counts):
        shared["primes"] = sum(counts)


def is_prime(number):
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def measured(executor, limit):
    shared, start = {"limit": limit}, time.perf_counter()
    asyncio.run(AsyncFlow(start=CountPrimes(executor=executor)).run_async(shared))
    return shared["primes"], time.perf_counter() - start


def main() -> None:
    limit = number(400_000)
    primes, alone = measured(lambda: ThreadPoolExecutor(1), limit)
    same, together = measured(ProcessPoolExecutor, limit)
    assert primes == same
    print(f"{primes} primes below {limit}.")
    speed_up = f"{alone / together:.1f} times as fast"
    print(f"One thread {alone:.2f} s, {os.cpu_count()} processes {together:.2f} s: {speed_up}.")


if __name__ == "__main__":
    run(main)
