"""How a run stands is folded from its events, and the same from its history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from itertools import product
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.dataflow import Dataflow
from pocketflow.graph import Graph
from pocketflow.hooks import emit
from pocketflow.journal import Journal, Paused
from pocketflow.stream import stream

pytest.importorskip("starlette", reason="pocketflow.serve needs starlette")
from pocketflow.serve.state import LONGEST, OUTPUTS, State
from tests.failing import FailsIn
from tests.serve.flows import Ask, Count, Fail, Gate, Words, branches, chain, sync


async def folded(flow: Any, shared: dict[str, Any] | None = None) -> tuple[State, list[dict[str, Any]]]:
    """The state after all events, and what each told."""
    state, told = State(Graph(flow)), []
    try:
        async for event in stream(flow, {} if shared is None else shared):
            told.append(state.apply(event))
    except Exception:
        state.stop("failed", [])
    return state, told


def brief(state: State) -> dict[str, tuple[str, int]]:
    return {id: (node["state"], node["visits"]) for id, node in state.nodes.items()}


class Items(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return [1, 2, 3]

    async def exec_async(self, item: Any) -> Any:
        yield f"item {item}"


class Entries(pf.AsyncParallelBatchFlow):
    async def prep_async(self, shared: Any) -> Any:
        return [{"i": 1}, {"i": 2}]


class Loop(pf.AsyncNode):
    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["rounds"] = shared.get("rounds", 0) + 1
        return "again" if shared["rounds"] < 3 else "done"


def loop() -> Any:
    node, words = Loop(), Words()
    node.next(words, "again").next(node)
    node.next(Words("the end", name="End"), "done")
    return pf.AsyncFlow(start=node)


def twins() -> Any:
    """Two nodes of one name in one flow."""
    return chain(Words("first"), Words("second"), Count())


def nested() -> Any:
    return chain(Count(name="before"), chain(Words(), Count(name="inside")), Count(name="after"))


def source(x: int) -> int:
    return x + 1


def double(source: int) -> int:
    return source * 2


FLOWS: dict[str, Any] = {
    "chain": lambda: chain(Words(), Count()),
    "branches": lambda: branches(Words(name="a"), Words(name="b")),
    "items": lambda: chain(Items(), Count()),
    "entries": lambda: chain(Entries(start=Words())),
    "loop": loop,
    "twins": twins,
    "nested": nested,
    "sync": lambda: sync(pf.Node(), pf.Node()),
    "node": Words,
    "dataflow": lambda: Dataflow(source, double),
}


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
async def test_nodes_stand_as_their_history_says(make: Any, tmp_path: Any):
    flow = make()
    live, _ = await folded(flow, {"x": 1})
    past = State(Graph(flow))
    with Journal(tmp_path / "runs.db") as journal:
        shared = {"x": 1}
        if isinstance(flow, pf.AsyncNode):
            await journal.run_async(flow, shared, run_id="one")
        else:
            journal.run(flow, shared, run_id="one")
        past.restore(journal.history("one"))
    assert brief(past) == brief(live)
    assert {node["state"] for node in live.nodes.values()} == {"done"}


class Mirror:
    """The state of one who begins with nothing, and assigns what each event tells."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def assign(self, changes: dict[str, Any]) -> None:
        self.nodes |= changes.get("nodes", {})
        outputs = [*changes.get("outputs", []), *([changes["output"]] if "output" in changes else [])]
        for output in outputs:
            self.outputs[output["slot"]] = {**self.outputs.get(output["slot"], {}), **output}
        if append := changes.get("append"):
            self.outputs[append["slot"]]["text"] += append["text"]


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
async def test_what_events_tell_is_the_state_that_is_folded_wherever_the_run_stops(make: Any):
    flow = make()
    _, told = await folded(flow, {"x": 1})
    for seen, status in product(range(len(told) + 1), ("failed", "interrupted", "finished")):
        state, mirror = State(Graph(flow)), Mirror()
        for event in told[:seen]:
            mirror.assign(state.apply(event)["changes"])
        mirror.assign(state.stop(status, []))
        assert (mirror.nodes, list(mirror.outputs.values())) == (state.nodes, list(state.outputs.values()))
        assert "running" not in {it["state"] for it in [*mirror.nodes.values(), *mirror.outputs.values()]}


async def test_each_branch_item_and_entry_has_an_output_of_its_own():
    state, _ = await folded(branches(Words("a b", name="one"), Words("c d", name="two")))
    assert {output["label"]: output["text"] for output in state.outputs.values()} == {"one": "a b", "two": "c d"}
    state, _ = await folded(chain(Items()))
    assert {output["label"]: output["text"] for output in state.outputs.values()} == {
        "Items [0]": "item 1", "Items [1]": "item 2", "Items [2]": "item 3",
    }  # fmt: skip
    state, _ = await folded(chain(Entries(start=Words("x"))))
    assert [output["label"] for output in state.outputs.values()] == ["Words [0]", "Words [1]"]


async def test_an_output_in_a_branch_of_an_entry_in_a_branch_has_the_number_of_the_entry():
    class Each(pf.AsyncBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{}, {}]

    state, _ = await folded(branches(Each(branches(Words("a", name="one"), Words("b", name="two"))), Count()))
    labels = sorted(output["label"] for output in state.outputs.values())
    assert labels == ["one [0]", "one [1]", "two [0]", "two [1]"]


async def test_an_output_is_that_of_the_last_visit():
    state, _ = await folded(loop())
    assert {output["label"]: output["path"] for output in state.outputs.values()} == {
        "Words": "AsyncFlow/3:Words", "End": "AsyncFlow/5:End",
    }  # fmt: skip


async def test_nodes_of_one_name_have_outputs_of_their_own():
    state, _ = await folded(twins())
    assert [output["text"] for output in state.outputs.values() if output["kind"] == "stream"] == ["first", "second"]


async def test_items_are_counted_while_they_run():
    _, told = await folded(chain(Items()))
    counts = [
        (node["items_done"], node["items"])
        for it in told
        if (node := it["changes"].get("nodes", {}).get("AsyncFlow/Items"))
    ]
    assert counts[0] == (0, 0)
    assert counts[-1] == (3, 3)
    assert all(done <= begun for done, begun in counts)


async def test_retries_are_counted():
    class Flaky(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            if self.cur_retry < 2:
                raise ConnectionError

    state, _ = await folded(chain(Flaky(max_retries=3)))
    assert (state.retries, state.nodes["AsyncFlow/Flaky"]["retries"]) == (2, 2)


async def test_what_a_failed_attempt_has_streamed_makes_room_for_the_next():
    class Flaky(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return [1, 2]

        async def exec_async(self, item: int) -> Any:
            yield f"{item} is "
            if item == 2 and not self.cur_retry:
                raise ConnectionError
            yield "done"

    state, told = await folded(chain(Flaky(max_retries=2)))
    [again] = [event["changes"]["output"] for event in told if event["type"] == "node_retry"]
    assert (again["label"], again["state"], again["text"]) == ("Flaky [1]", "running", "")
    assert sorted(output["text"] for output in state.outputs.values()) == ["1 is done", "2 is done"]


async def test_of_a_run_that_failed_the_node_and_what_is_around_it_failed():
    state, _ = await folded(chain(Count(), chain(Words(), Fail())))
    assert {id: node["state"] for id, node in state.nodes.items()} == {
        "AsyncFlow": "failed",
        "AsyncFlow/Count": "done",
        "AsyncFlow/AsyncFlow": "failed",
        "AsyncFlow/AsyncFlow/Words": "done",
        "AsyncFlow/AsyncFlow/Fail": "failed",
    }


class FailingItem(pf.AsyncBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return [0, 1, 2]

    async def exec_async(self, item: Any) -> Any:
        return 1 // (1 - item)


class FailingEntry(pf.AsyncBatchFlow):
    async def prep_async(self, shared: Any) -> Any:
        return ["no dict of params"]


class SecondHangs(pf.AsyncBatchNode):
    def __init__(self, hanging: asyncio.Event) -> None:
        super().__init__()
        self.hanging = hanging

    async def prep_async(self, shared: Any) -> Any:
        return [1, 2]

    async def exec_async(self, item: Any) -> Any:
        if item == 2:
            self.hanging.set()
            await asyncio.Event().wait()  # until it is cancelled


class FailsThen(pf.AsyncNode):
    def __init__(self, when: asyncio.Event) -> None:
        super().__init__()
        self.when = when

    async def exec_async(self, prep_res: Any) -> Any:
        await self.when.wait()
        raise LookupError


def one_fails_beside_another() -> Any:
    hanging = asyncio.Event()
    return branches(SecondHangs(hanging), FailsThen(hanging))


FAILING: dict[str, Any] = {
    **{phase: partial(FailsIn, phase) for phase in ("prep", "exec", "post")},
    "item": FailingItem,
    "entry": lambda: FailingEntry(Count()),
    "branch": one_fails_beside_another,
}


@pytest.mark.parametrize("make", FAILING.values(), ids=FAILING)
async def test_of_a_run_that_failed_its_history_says_where(make: Any, tmp_path: Any):
    flow = chain(Count(), chain(Words(), make()), Words())
    live, _ = await folded(chain(Count(), chain(Words(), make()), Words()))
    past = State(Graph(flow))
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises((LookupError, ZeroDivisionError, TypeError)):
            await journal.run_async(flow, {}, run_id="one")
        past.restore(journal.history("one"))
        past.stop("failed", [])
    assert brief(past) == brief(live)


async def test_where_an_older_history_does_not_say_where_a_run_failed_all_that_had_begun_failed(tmp_path: Any):
    flow = one_fails_beside_another()
    past = State(Graph(flow))
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(LookupError):
            await journal.run_async(flow, {}, run_id="one")
        rows = journal.history("one")
    past.restore([{**row, "path": ""} if row["kind"] == "status" else row for row in rows])
    past.stop("failed", [])
    assert {Graph(flow)[id].name: node["state"] for id, node in past.nodes.items()} == {
        "AsyncFlow": "failed",
        "AsyncParallelFlow": "failed",
        "SecondHangs": "failed",
    }


async def test_a_node_that_failed_and_was_run_again_is_done(tmp_path: Any):
    flow = chain(Words(), fails := FailsIn("post"))
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(LookupError):
            await journal.run_async(flow, {}, run_id="one")
        fails.phase = ""
        await journal.run_async(flow, {}, run_id="one")
        past = State(Graph(flow))
        past.restore(journal.history("one"))
        past.stop("finished", [])
    assert {state for state, _ in brief(past).values()} == {"done"}


async def test_of_a_run_that_failed_what_another_branch_was_saying_is_stopped():
    gate = Gate()

    class Break(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            yield "as far as "
            await gate.reached.wait()
            raise LookupError

    state, _ = await folded(branches(Words(gate=gate), Break()))
    assert {it["label"]: it["state"] for it in state.outputs.values()} == {"Words": "stopped", "Break": "failed"}


async def test_what_code_inside_of_a_node_runs_is_no_visit_of_the_node():
    class Outer(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await chain(Words(), Words()).run_async({})
            await chain(Words(), Words()).run_async({})

    state, _ = await folded(chain(Outer()))
    assert brief(state) == {"AsyncFlow": ("done", 1), "AsyncFlow/Outer": ("done", 1)}


async def test_what_was_cut_short_inside_of_a_flow_that_went_on_does_not_run_for_ever():
    class Forgiving(pf.AsyncFlow):
        async def _run_async(self, shared: Any) -> Any:
            try:
                return await super()._run_async(shared)
            except LookupError:
                return None

    state, _ = await folded(chain(Forgiving(start=chain(Fail())), Count()))
    assert {id: node["state"] for id, node in state.nodes.items()} == {
        "AsyncFlow": "done",
        "AsyncFlow/Forgiving": "done",
        "AsyncFlow/Forgiving/AsyncFlow": "failed",
        "AsyncFlow/Forgiving/AsyncFlow/Fail": "failed",
        "AsyncFlow/Count": "done",
    }


async def resumed(journal: Journal, flow: Any) -> State:
    """The state of a run that waits for an answer, and then is resumed."""
    with pytest.raises(Paused):
        await journal.run_async(flow, {}, run_id="one")
    journal.answer("one", "yes")
    state = State(Graph(flow), journal.history("one"))

    async def events() -> AsyncIterator[dict[str, Any]]:
        async for event in journal.stream(flow, {}, run_id="one"):
            yield event

    async for event in events():
        state.apply(event)
    return state


async def test_what_is_inside_of_a_restored_flow_is_restored_from_the_history(tmp_path: Any):
    with Journal(tmp_path / "runs.db") as journal:
        state = await resumed(journal, chain(chain(Words(), Count()), Ask()))
    assert {id: node["state"] for id, node in state.nodes.items()} == {
        "AsyncFlow": "done",
        "AsyncFlow/AsyncFlow": "restored",
        "AsyncFlow/AsyncFlow/Words": "restored",
        "AsyncFlow/AsyncFlow/Count": "restored",
        "AsyncFlow/Ask": "done",
    }
    assert [output["text"] for output in state.outputs.values() if output["label"] == "Count"] == ["Count 1"]


async def test_a_question_from_the_history_waits_at_its_node(tmp_path: Any):
    flow = branches(Ask(name="one"), chain(Count(), Ask(name="two")))
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(Paused):
            await journal.run_async(flow, {}, run_id="one")
        [run] = journal.runs()
        state = State(Graph(flow))
        state.restore(journal.history("one"))
        state.stop(run["status"], run["questions"])
    asking = {question["question"] for question in run["questions"]}
    waiting = {Graph(flow)[id].name for id, node in state.nodes.items() if node["state"] == "waiting"}
    assert "AsyncFlow" in waiting
    assert {f"{name}?" for name in waiting & {"one", "two"}} == asking


def chunk(path: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"type": "chunk", "path": path, "node": "Words", "chunk": text, **more}


def test_of_a_long_output_the_end_is_kept_and_what_is_missing_is_counted():
    state = State(Graph(chain(Words())))
    for _ in range(5):
        state.apply(chunk("AsyncFlow/0:Words", "x" * LONGEST))
    [output] = state.outputs.values()
    assert len(output["text"]) <= 2 * LONGEST
    assert len(output["text"]) + output["cut"] == 5 * LONGEST


def test_of_a_long_first_chunk_the_end_is_kept_too():
    state = State(Graph(chain(Words())))
    state.apply(chunk("AsyncFlow/0:Words", "x" + "y" * LONGEST))
    [output] = state.outputs.values()
    assert (output["text"], output["cut"]) == ("y" * LONGEST, 1)


def test_of_a_long_result_the_beginning_is_kept_and_says_how_much_is_missing():
    state = State(Graph(chain(Words())))
    state.put_result("AsyncFlow/0:Words", None, "x" * (LONGEST + 1234), is_restored=False)
    [output] = state.outputs.values()
    assert output["text"] == "x" * LONGEST + "... and 1,234 characters more"


def test_of_many_outputs_the_last_are_kept():
    state = State(Graph(chain(Words())))
    for item in range(OUTPUTS + 10):
        state.apply(chunk("AsyncFlow/0:Words", "x", item=item))
    assert [output["slot"] for output in state.outputs.values()][-1] == f"AsyncFlow/Words[{OUTPUTS + 9}]"
    assert len(state.outputs) == OUTPUTS


def test_chunks_that_are_no_text_are_shown_as_json():
    state = State(Graph(chain(Words())))
    state.apply(chunk("AsyncFlow/0:Words", {"a": 1}))
    state.apply(chunk("AsyncFlow/0:Words", 2))
    assert next(iter(state.outputs.values()))["text"] == '{\n "a": 1\n}\n2\n'


def test_a_run_without_a_known_flow_shows_its_outputs_by_their_paths():
    state = State(None)
    state.apply({"type": "node_start", "path": "Flow/0:Words", "node": "Words"})
    state.apply(chunk("Flow/0:Words", "text"))
    [output] = state.outputs.values()
    assert (output["id"], output["label"], output["text"], state.nodes) == (None, "Words", "text", {})


def test_usage_that_is_no_number_of_tokens_does_not_end_the_run():
    state = State(Graph(chain(Words())))
    state.apply({"type": "usage", "path": "AsyncFlow/0:Words", "input_tokens": "many", "output_tokens": None})
    assert state.tokens == {"input": 0, "output": 0}


def test_of_its_past_a_resumed_run_reads_each_row_a_few_times_however_long_it_was():
    class Row(dict[str, Any]):
        reads = 0

        def __getitem__(self, key: str) -> Any:
            Row.reads += 1
            return super().__getitem__(key)

    visits = [f"Flow/{number}:Step" for number in range(200)]
    rows = [Row(kind="exec", path=f"{visit}/exec", result="done") for visit in visits]
    state = State(None, rows)
    for visit in visits:
        state.apply({"type": "node_start", "path": visit})
        state.apply({"type": "node_end", "path": visit, "action": None, "skipped": True})
    assert Row.reads < 20 * len(rows)
    assert list(state.outputs.values())[-1]["text"] == "done"


async def test_a_node_that_emits_its_own_end_ends_nevertheless():
    class Odd(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await emit({"type": "node_end"})

    state, _ = await folded(chain(Odd()))
    assert {id: node["state"] for id, node in state.nodes.items()} == {"AsyncFlow": "done", "AsyncFlow/Odd": "done"}
