"""Work that survives a kill: a batch of paid calls is killed half way, twice, and goes on.

    python -m cookbook.durable

The program starts itself as a worker, which kills itself with SIGKILL after some calls: no clean-up,
no last words. It is started again until it ends, and the bill is read. The bill is a plain file
beside the journal, written at every call, so it shows what was paid, whatever the journal says. What
the journal had recorded is not paid again; calls that were in flight at the kill may be.
"""

import asyncio
import builtins
import inspect
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncParallelBatchNode
from pocketflow.journal import Journal

FUNCTIONS = (abs, all, any, ascii, bin, chr, hash, hex, id, input, len, oct, open, ord, pow, repr, round, sorted, sum)
CALLS_IN_A_LIFE = 7


class Explain(AsyncParallelBatchNode):
    max_concurrency = 3

    async def prep_async(self, shared):
        return shared["names"]

    async def exec_async(self, name):
        await asyncio.sleep(0.01)  # a model would take longer
        pay(name)
        return inspect.getdoc(getattr(builtins, name)).splitlines()[0]

    async def post_async(self, shared, names, answers):
        shared["answers"] = dict(zip(names, answers, strict=True))


def pay(name):
    """Write a call to the bill; before one too many, die."""
    if len(paid_in_this_life) == CALLS_IN_A_LIFE:
        os.kill(os.getpid(), signal.SIGKILL)
    paid_in_this_life.append(name)
    with open("bill.txt", "a") as bill:
        bill.write(f"{name}\n")


paid_in_this_life = []


def work():
    shared = {"names": [function.__name__ for function in FUNCTIONS]}
    with Journal("runs.db") as journal:
        asyncio.run(journal.run_async(AsyncFlow(start=Explain()), shared, run_id="explain"))
    for name, answer in shared["answers"].items():
        print(f"{name}: {answer}", flush=True)


def main():
    if sys.argv[1:] == ["work"]:
        return work()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        worker = [sys.executable, "-m", "cookbook.durable", "work"]
        while (code := subprocess.run(worker, cwd=folder, env=environment, check=False).returncode) == -signal.SIGKILL:
            print("killed; starting again", flush=True)
        if code:
            raise SystemExit(code)
        paid = Counter(Path(folder, "bill.txt").read_text().splitlines())
    again = paid.total() - len(paid)
    print(f"{len(paid)} names explained; {again} call(s) in flight when the process died were paid again")


if __name__ == "__main__":
    run(main)
