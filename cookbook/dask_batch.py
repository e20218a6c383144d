"""The node of `cookbook.cpu_batch` on a Dask cluster: only the executor is another one.

    pip install 'dask[distributed]'
    python -m cookbook.dask_batch [LIMIT]

Starts a cluster of two processes on this machine. A real one differs in one line:
`Client("tcp://scheduler:8786")`.
"""

import sys

from cookbook.cpu_batch import measured
from cookbook.terminal import number, run

try:
    from distributed import Client, LocalCluster
except ImportError:
    sys.exit(print("needs Dask: pip install 'dask[distributed]'", file=sys.stderr) or 2)


def main() -> None:
    limit = number(400_000)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        primes, seconds = measured(client.get_executor(), limit)
        workers = len(client.scheduler_info()["workers"])
    print(f"{primes} primes below {limit}, counted by {workers} workers in {seconds:.2f} s.")


if __name__ == "__main__":
    run(main)
