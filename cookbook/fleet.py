"""Flows that outlive their machine: a Dask cluster runs them, a worker is killed, and another takes over its runs.

    pip install 'dask[distributed]'
    python -m cookbook.fleet [postgresql://USER@HOST/DATABASE]

When a worker dies, Dask gives its work to the others, and the journal knows what is done already. Where
workers are on several machines the journal is in PostgreSQL (pip install 'psycopg[binary]');
here, on one, a file will do. The bill is a plain file, written at every call, so it shows what was paid.
"""

import logging
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from uuid import uuid4

from cookbook.terminal import argument, run
from pocketflow import BatchNode, Flow, Node
from pocketflow.journal import Journal

try:
    from distributed import Client, LocalCluster
except ImportError:
    sys.exit(print("needs Dask: pip install 'dask[distributed]'", file=sys.stderr) or 2)

CITIES = ("Athens", "Lisbon", "Rome", "Vienna", "Zagreb", "Oslo")
SIGHTS = ("castle", "museum", "market", "park")


class Describe(BatchNode):
    def prep(self, shared):
        return [(shared["city"], sight, shared["folder"]) for sight in SIGHTS]

    def exec(self, item):
        city, sight, folder = item
        pay(f"the {sight} of {city}", Path(folder))
        return f"The {sight} of {city} is worth a visit."

    def post(self, shared, items, texts):
        shared["texts"] = texts


class Join(Node):
    def post(self, shared, prep_res, exec_res):
        shared["guide"] = " ".join(shared["texts"])


def pay(call, folder):
    """Write a call to the bill; the first worker that comes to the park of Rome dies there."""
    if call == "the park of Rome" and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with open(folder / "bill.txt", "a") as bill:
        bill.write(f"{call}\n")


def work(where, run_id, city, folder):
    """What a worker does: begin the run, or go on with it."""
    describe = Describe()
    describe >> Join()
    shared = {}
    with Journal(where) as journal:
        begun = run_id in [known["run_id"] for known in journal.runs(tags={"city": city})]
        if not begun:
            shared = {"city": city, "folder": folder}
        journal.run(Flow(start=describe), shared, run_id=run_id, tags={"city": city})
    return shared["guide"], begun


def main():
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=3, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        where, trip = argument(f"{folder}/runs.db"), uuid4().hex[:8]
        runs = [client.submit(work, where, f"{trip}-{city}", city, folder) for city in CITIES]
        guides = client.gather(runs)
        paid = Counter(Path(folder, "bill.txt").read_text().splitlines())
    resumed = [city for city, (_, begun) in zip(CITIES, guides, strict=True) if begun]
    print(guides[2][0])
    print(f"A worker was killed; another went on with: {', '.join(resumed)}.")
    print(f"{paid.total()} calls paid, {max(paid.values())} at most for one sight.")


if __name__ == "__main__":
    run(main)
