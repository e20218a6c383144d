"""The journal and a PostgreSQL server: connections that are lost, owners that freeze."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.journal import Journal, JournalError, RunBusy
from tests.journal import server
from tests.journal.kit import Approve, Say, paused, run

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")


@pytest.fixture
def where(postgres: server.Server) -> str:
    return postgres.schema()


class Break(pf.Node):
    """Ends all connections of the server but its own, once, as a network may."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.todo = where, [True]

    def exec(self, prep_res: Any) -> Any:
        if self.todo:
            self.todo.pop()
            with psycopg.connect(self.where, autocommit=True) as db:
                db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
        return "paid"


@pytest.mark.parametrize("base", [pf.Flow, pf.AsyncFlow])
def test_a_lost_connection_is_told_and_the_run_goes_on_with_the_next(where: str, base: Any):
    log: list[str] = []
    first = Say(log, "a")
    first - "after a" >> Break(where)
    with Journal(where) as journal:
        with pytest.raises(JournalError, match="the connection was lost.*: see that the server runs, then run again"):
            run(journal, base(first), {})
        assert [found["status"] for found in journal.runs()] == ["interrupted"]
        shared: dict[str, Any] = {}
        run(journal, base(first), shared)
    assert (shared, log) == ({"said": ["a"]}, ["a"])


def test_a_run_that_lost_its_lock_with_the_connection_writes_nothing_more(where: str):
    """The journal has connected again meanwhile."""

    class Reconnect(Break):
        def exec(self, prep_res: Any) -> Any:
            if self.todo:
                super().exec(prep_res)
                with pytest.raises(JournalError):
                    journal.runs()
            return len(journal.runs())

    with Journal(where) as journal:
        flow = pf.Flow(Reconnect(where))
        with pytest.raises(RunBusy, match="'run' lost its lock with the connection: run it again"):
            run(journal, flow, {})
        run(journal, flow, {})


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(JournalError, match="the connection was lost, or could not be made"):
        Journal("postgresql:///postgres?host=/no/such/folder")


def test_a_table_of_another_program_is_refused(where: str):
    with psycopg.connect(where, autocommit=True) as db:
        db.execute("CREATE TABLE pocketflow_records (mine text)")
    with pytest.raises(JournalError, match="the table pocketflow_records has another format: choose another database"):
        Journal(where)


def test_a_changed_record_is_told(where: str):
    with Journal(where) as journal:
        run(journal, pf.Flow(Say([], "a")), {})
        with psycopg.connect(where, autocommit=True) as db:
            db.execute("UPDATE pocketflow_records SET value = '\"b\"' WHERE n = 3")
        with pytest.raises(JournalError, match="is damaged"):
            journal.history("run")


def test_an_owner_in_another_journal_keeps_a_second_out_until_it_ends(where: str):
    with Journal(where) as other, Journal(where) as journal:

        class Inside(pf.Node):
            def exec(self, prep_res: Any) -> Any:
                assert other.runs()[0]["status"] == "running"
                with pytest.raises(RunBusy, match="is being run by another owner"):
                    run(other, pf.Flow(Inside()), {})

        run(journal, pf.Flow(Inside()), {})
        assert other.runs()[0]["status"] == "finished"


def test_two_journals_that_begin_one_run_at_once_run_it_once(where: str):
    log: list[str] = []

    class Slow(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.sleep(0)

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            log.append("ran")

    async def scenario() -> None:
        with Journal(where) as one, Journal(where) as two:
            for n in range(10):
                runs = (it.run_async(pf.AsyncFlow(Slow()), {}, run_id=f"run {n}") for it in (one, two))
                async with asyncio.timeout(30):
                    done = await asyncio.gather(*runs, return_exceptions=True)
                assert [it for it in done if it is not None and not isinstance(it, RunBusy)] == []

    asyncio.run(scenario())
    assert log == ["ran"] * 10


def test_a_run_that_ends_while_another_process_looks_at_it_is_not_run_again(where: str, monkeypatch: Any):
    """The other has read the records, and then finds that nobody holds the lock any more."""
    log: list[str] = []
    has_read, has_ended = threading.Event(), threading.Event()
    with Journal(where) as one, Journal(where) as two, ThreadPoolExecutor() as threads:
        is_alive = two.store.is_alive

        def later(token: int) -> bool:
            has_read.set()
            assert has_ended.wait(30)
            return is_alive(token)

        monkeypatch.setattr(two.store, "is_alive", later)

        class Begin(pf.Node):
            def exec(self, prep_res: Any) -> Any:
                log.append("ran")
                if len(log) == 1:
                    second.append(threads.submit(two.run, pf.Flow(Begin()), {}, run_id="run"))
                    assert has_read.wait(30)

        second: list[Any] = []
        run(one, pf.Flow(Begin()), {})
        has_ended.set()
        second[0].result(30)
    assert log == ["ran"]


def test_a_run_that_is_answered_while_it_is_deleted_is_gone_as_a_whole(where: str, monkeypatch: Any):
    """The one who deletes has read the records, but not the answer."""
    with Journal(where) as one, Journal(where) as two:
        paused(one, pf.Flow(Approve()))
        is_alive, answers = one.store.is_alive, ["yes"]

        def later(token: int) -> bool:
            if answers:
                two.answer("run", answers.pop())
            return is_alive(token)

        monkeypatch.setattr(one.store, "is_alive", later)
        one.delete("run")
        assert two.runs() == []
        paused(two, pf.Flow(Approve()))


def test_a_run_that_is_deleted_while_it_is_answered_is_gone_as_a_whole(where: str):
    """The one who answers has read the question, and then there is none."""
    with Journal(where) as one, Journal(where) as two:
        paused(one, pf.Flow(Approve()))
        clock, runs = one.clock, ["run"]

        def later() -> datetime:
            if runs:
                two.delete(runs.pop())
            return clock()

        one.clock = later
        with pytest.raises(JournalError, match="has no run 'run'"):
            one.answer("run", "yes")
        paused(two, pf.Flow(Approve()))


def test_two_who_answer_the_same_runs_in_another_order_do_not_stop_each_other(where: str):
    """The server ends one of two transactions that wait for each other, and that is done again."""
    barrier = threading.Barrier(2, timeout=30)

    def answer(journal: Journal, run_ids: list[str]) -> None:
        first = [True]

        def work() -> None:
            for run_id in run_ids:
                last = journal.store.records(run_id)[-1]
                journal.store.append(last._replace(kind="usage", value="{}"), last.token)
                if first:
                    first.pop()
                    barrier.wait()

        journal.writer.do(work)

    with Journal(where) as one, Journal(where) as two, ThreadPoolExecutor() as threads:
        for run_id in ("a", "b"):
            one.create(pf.Flow(Approve()), {}, run_id=run_id)
        done = [threads.submit(answer, one, ["a", "b"]), threads.submit(answer, two, ["b", "a"])]
        for it in done:
            it.result(30)
        assert [len(one.history(run_id)) for run_id in ("a", "b")] == [4, 4]


@pytest.fixture
def own_server() -> Iterator[server.Server]:
    if server.programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with server.running("fsync=off") as started:
        yield started


def test_a_server_that_was_restarted_in_mid_run_costs_no_finished_step(own_server: server.Server):
    log: list[str] = []

    class Restart(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            if not log:
                log.append("restarted")
                own_server.stop()
                own_server.start()

    restart = Restart()
    restart >> Say(log, "b")
    with Journal(own_server.schema()) as journal:
        with pytest.raises(JournalError, match="connection"):
            run(journal, pf.Flow(restart), {})
        run(journal, pf.Flow(restart), {})
    assert log == ["restarted", "b"]
