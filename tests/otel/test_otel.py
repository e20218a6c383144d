"""The spans of a run, as the real SDK of OpenTelemetry exports them, and the recipe that prints them."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchFlow, AsyncParallelBatchNode, Flow, Node
from pocketflow.hooks import Hook, Skip, emit
from tests.cookbook.runner import call, run

pytest.importorskip("opentelemetry.sdk", reason="needs the otel extra: pip install -e '.[otel]'")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pocketflow import otel
from pocketflow.otel import OpenTelemetry

TREE = """\
3 words, the longest line has 5 characters

invoke_workflow AsyncFlow
  Read
  AsyncParallelFlow
    AsyncParallelFlow[0]
      Words
    AsyncParallelFlow[1]
      Longest
  Send (retry after ConnectionError)
"""


def test_otel_prints_the_spans_of_a_run(tmp_path: Path):
    (tmp_path / "text").write_text("to be\nor")
    assert run("otel", str(tmp_path / "text")) == TREE


def test_otel_shows_where_a_run_failed():
    tree = "invoke_workflow AsyncFlow ! FileNotFoundError\n  Read ! FileNotFoundError\n"
    assert call("otel", "no file") == (2, tree, "no file: No such file or directory\n")


def spans_of(flow: Any) -> dict[str, Any]:
    """The finished spans of a run, by name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = OpenTelemetry(provider.get_tracer("test"))
    with hook:
        asyncio.run(flow.run_async({})) if isinstance(flow, AsyncNode) else flow.run({})
    assert hook._open == {}  # none was left open
    spans = exporter.get_finished_spans()
    assert len({span.context.trace_id for span in spans}) == 1
    return {span.name: span for span in spans}


def parents(spans: dict[str, Any]) -> dict[str, str | None]:
    names = {span.context.span_id: name for name, span in spans.items()}
    return {name: span.parent and names[span.parent.span_id] for name, span in spans.items()}


class Meet(AsyncNode):
    """Ends only when both branches have begun, and before the other if its name says so."""

    def __init__(self, name: str, barrier: asyncio.Barrier) -> None:
        super().__init__()
        self.name, self.barrier = name, barrier

    async def exec_async(self, prep_res):
        await self.barrier.wait()
        if self.name == "slow":
            await asyncio.sleep(0)


def test_branches_that_run_at_once_and_nested_flows_have_the_right_parents():
    barrier, first = asyncio.Barrier(2), Node()
    first >> [AsyncFlow(Meet("slow", barrier)), Meet("fast", barrier)]
    assert parents(spans_of(AsyncFlow(first))) == {
        "invoke_workflow AsyncFlow": None,
        "Node": "invoke_workflow AsyncFlow",
        "AsyncParallelFlow": "invoke_workflow AsyncFlow",
        "AsyncParallelFlow[0]": "AsyncParallelFlow",
        "AsyncFlow": "AsyncParallelFlow[0]",
        "slow": "AsyncFlow",
        "AsyncParallelFlow[1]": "AsyncParallelFlow",
        "fast": "AsyncParallelFlow[1]",
    }


def test_the_root_has_the_attributes_of_the_conventions():
    attributes = dict(spans_of(Flow(Node()))["invoke_workflow Flow"].attributes)
    assert attributes == {
        "gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "Flow", "pocketflow.path": "Flow",
    }  # fmt: skip


def test_a_retry_of_an_item_is_an_event_of_the_span_of_its_node():
    class Flaky(AsyncParallelBatchNode):
        async def prep_async(self, shared):
            return range(3)

        async def exec_async(self, item):
            if item == 1 and self.cur_retry == 0:
                raise ConnectionError

    [event] = spans_of(AsyncFlow(Flaky(max_retries=2)))["Flaky"].events
    assert (event.name, dict(event.attributes)) == (
        "retry", {"attempt": 0, "wait": 0, "error.type": "ConnectionError", "item": 1},
    )  # fmt: skip


def test_a_failure_is_the_status_of_every_span_it_passed():
    class Fail(Node):
        def exec(self, prep_res):
            raise ValueError("no such page")

    class Catch(Node):
        def exec(self, prep_res):
            with pytest.raises(ValueError, match="no such page"):
                Flow(Fail()).run({})

    spans = spans_of(Flow(Catch()))
    for name in ("Fail", "Flow"):
        assert (spans[name].status.status_code, spans[name].status.description) == (StatusCode.ERROR, "no such page")
        assert spans[name].attributes["error.type"] == "ValueError"
    assert spans["Catch"].status.status_code == StatusCode.UNSET
    assert parents(spans)["Flow"] == "Catch"


class Ask(Node):
    """Two calls, of which the first is tried again."""

    def exec(self, prep_res):
        emit({"type": "usage", "model": "small", "input_tokens": 10, "output_tokens": 2})
        emit({"type": "usage", "model": "large", "input_tokens": 5, "output_tokens": 1})
        emit({"type": "status", "text": "asked"})

    def post(self, shared, prep_res, exec_res):
        return "found"


def test_the_tokens_of_all_calls_of_a_visit_are_on_its_span_and_on_no_other():
    node = Ask()
    node - "found" >> Node()
    spans = spans_of(Flow(node))
    told = {key: value for key, value in spans["Ask"].attributes.items() if key.startswith("gen_ai.")}
    assert told == {
        "gen_ai.usage.input_tokens": 15, "gen_ai.usage.output_tokens": 3, "gen_ai.request.model": "large",
    }  # fmt: skip
    assert "gen_ai.usage.input_tokens" not in spans["invoke_workflow Flow"].attributes
    assert "gen_ai.usage.input_tokens" not in spans["Node"].attributes


def test_tokens_that_are_no_numbers_count_nothing_and_fail_no_run():
    class Odd(Node):
        def exec(self, prep_res):
            emit({"type": "usage", "model": None, "input_tokens": "many", "output_tokens": [1]})
            emit({"type": "usage", "input_tokens": 3})

    told = spans_of(Flow(Odd()))["Odd"].attributes
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (3, 0)


def test_the_action_is_an_attribute():
    assert spans_of(Ask())["invoke_workflow Ask"].attributes["pocketflow.action"] == "found"


def recorder() -> tuple[Any, Any]:
    """A tracer, and where its finished spans go."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter


def test_spans_of_others_stand_around_the_run_and_below_the_node_that_made_them():
    tracer, exporter = recorder()

    class Call(AsyncNode):
        async def exec_async(self, prep_res):
            with tracer.start_as_current_span("POST /chat"):
                await asyncio.sleep(0)

    async def request():
        with tracer.start_as_current_span("GET /"), OpenTelemetry(tracer):
            await AsyncFlow(Call()).run_async({})

    asyncio.run(request())
    assert parents({span.name: span for span in exporter.get_finished_spans()}) == {
        "GET /": None, "invoke_workflow AsyncFlow": "GET /", "Call": "invoke_workflow AsyncFlow", "POST /chat": "Call",
    }  # fmt: skip


class Pause(BaseException):
    """Such as a journal raises to wait for a person."""


def test_what_is_no_exception_cancels_and_is_no_error():
    tracer, exporter = recorder()

    class Stop(Node):
        def exec(self, prep_res):
            raise Pause

    with OpenTelemetry(tracer), pytest.raises(Pause):
        Stop().run({})
    [span] = exporter.get_finished_spans()
    assert (span.status.status_code, span.attributes["pocketflow.cancelled"]) == (StatusCode.UNSET, True)


class SkipNodes(Hook):
    def on_start(self, step):
        return Skip("kept") if step.kind == "node" else None


def test_what_was_restored_says_so():
    with SkipNodes():
        attributes = spans_of(Flow(Node()))["Node"].attributes
    assert (attributes["pocketflow.skipped"], attributes["pocketflow.action"]) == (True, "kept")


def test_parallel_entries_have_spans_of_their_own():
    class Batch(AsyncParallelBatchFlow):
        async def prep_async(self, shared):
            return [{"n": n} for n in range(3)]

    names = sorted(spans_of(Batch(Node())))
    assert names == ["Batch[0]", "Batch[1]", "Batch[2]", "Node", "invoke_workflow Batch"]


def test_a_missing_opentelemetry_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match="^pocketflow.otel needs OpenTelemetry: pip install opentelemetry-api$"):
        importlib.reload(otel)
