"""What nodes and flows promise beside what PocketFlow 0.0.3 gets wrong."""

from __future__ import annotations

from typing import Any

import pocketflow as pf
from tests.kits import SyncKit


def test_a_run_inside_of_exec_leaves_the_attempt_alone(kit: SyncKit):
    class Inner(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            assert self.cur_retry == 0

    class Outer(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            pf.Flow(Inner()).run({})
            seen.append(self.cur_retry)
            if self.cur_retry < 2:
                raise ValueError("again")

    seen: list[int] = []
    kit.run(Outer(max_retries=3))
    assert seen == [0, 1, 2]
