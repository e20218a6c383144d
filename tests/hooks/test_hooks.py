"""Hooks: how they are installed, what they may hold back, and what they cannot break; `emit`; `Log`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from typing import Any
from unittest.mock import Mock

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Log, Skip, Step, emit, hooked
from tests.core.nodes import notes, settle, soon
from tests.hooks.hooks import Lines
from tests.kits import SyncKit

# Installed


class Named(Hook):
    """Tells `order` of its starts and ends."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order = name, order

    def on_start(self, step: Step) -> None:
        self.order.append(f"{self.name} start")

    def on_end(self, step: Step, result: Any) -> None:
        self.order.append(f"{self.name} end")


class Bare(pf.BaseNode):
    """One step and no other."""

    def _run(self, shared: Any) -> Any: ...


def test_blocks_nest_and_inner_hooks_hear_of_ends_first():
    order: list[str] = []
    with Named("a", order), hooked(Named("b", order), Named("c", order)):
        Bare().run({})
    Bare().run({})
    assert order == ["a start", "b start", "c start", "c end", "b end", "a end"]


def test_a_hook_is_given_back_by_its_block():
    with Lines() as lines:
        Bare().run({})
    assert lines.paths() == ["Bare"]


def test_a_hook_that_is_entered_twice_is_told_once_until_its_last_block_ends():
    lines = Lines()
    with lines, hooked(lines, lines):
        with lines:
            Bare().run({})
        Bare().run({})
    Bare().run({})
    assert lines.paths() == ["Bare", "Bare"]


def test_a_hook_entered_inside_of_a_step_sees_what_runs_in_its_block():
    class Watches(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            with lines:
                Bare().run({})

    lines = Lines()
    pf.Flow(Watches()).run({})
    assert lines.paths() == ["Bare"]
    with Lines():
        pf.Flow(Watches()).run({})
    assert lines.paths()[1:] == ["Flow/0:Watches/exec/~0:Bare"]


def test_only_instances_of_hook_can_be_installed():
    with pytest.raises(TypeError, match="write an instance of Hook"):
        hooked(Log)  # type: ignore[arg-type]  # the mistake


def test_threads_that_run_in_a_copy_of_the_context_are_seen_and_others_are_not():
    with Lines() as lines:
        context = contextvars.copy_context()
        for target in (lambda: context.run(pf.Node().run, {}), lambda: pf.Node().run({})):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join(30)
    assert lines.paths() == ["Node", "Node/prep", "Node/exec"]


async def test_runs_beside_each_other_have_their_own_hooks():
    class Meet(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await barrier.wait()

    async def watched(name: str) -> list[str]:
        node = Meet()
        node.name = name
        with Lines() as lines:
            await node.run_async({})
        return lines.paths()

    barrier = asyncio.Barrier(2)
    assert await soon(asyncio.gather(watched("a"), watched("b"))) == [
        ["a", "a/prep", "a/exec"],
        ["b", "b/prep", "b/exec"],
    ]


# Hooks that fail


class Failing(Hook):
    """One method raises for the steps whose path ends so."""

    def __init__(self, method: str, ending: str) -> None:
        self.ending = ending
        setattr(self, method, self.fail)

    def fail(self, step: Step, *rest: Any) -> Any:
        if step.path.endswith(self.ending):
            raise ValueError("of the hook")


@pytest.mark.parametrize("method", ["on_start", "on_end", "on_retry"])
def test_an_exception_of_a_hook_fails_the_step_untried_and_names_the_hook(kit: SyncKit, method: str):
    class Works(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            calls.append(1)
            if method == "on_retry":
                raise KeyError("so that there is a retry")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            pytest.fail("the work itself did not fail")

    calls: list[int] = []
    before, after = Lines(), Lines()
    kit.hooks = (before, Failing(method, "exec"), after)
    with pytest.raises(ValueError, match="of the hook") as caught:
        kit.run(Works(max_retries=3))
    assert len(calls) <= 1
    assert "raised by the hook Failing.fail" in notes(caught.value)
    assert before.is_balanced()
    assert after.is_balanced()


def test_an_exception_that_emit_raises_is_one_of_the_exec_and_tried_again(kit: SyncKit):
    class Emits(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            calls.append(1)
            emit({"type": "x"})

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return str(exc)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    calls: list[int] = []
    kit.hooks = (Failing("on_event", "exec"),)
    assert kit.run(Emits(max_retries=3)) == "of the hook"
    assert len(calls) == 3


def test_an_exception_of_on_error_replaces_the_error_and_keeps_it_as_context(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise KeyError("first")

    after = Lines()
    kit.hooks = (after, Failing("on_error", "exec"))
    with pytest.raises(ValueError, match="of the hook") as caught:
        kit.run(Fails())
    assert isinstance(caught.value.__context__, KeyError)
    assert "error Fails/exec ValueError('of the hook')" in after.lines


@pytest.mark.parametrize(
    "callback",
    [functools.partial(Failing("x", "").fail), Mock(side_effect=ValueError("of the hook"))],
    ids=["partial", "mock"],
)
def test_a_hook_made_of_any_callable_is_blamed_by_name(kit: SyncKit, callback: Any):
    hook = Hook()
    hook.on_end = callback  # type: ignore[method-assign]  # as a test would
    kit.hooks = (hook,)
    with pytest.raises(ValueError, match="of the hook") as caught:
        kit.run(kit.Node())
    assert any(note.startswith("raised by the hook ") for note in notes(caught.value))


# What is held back


class Waits(Hook):
    """Each of its methods waits on the loop for a turn, where there is one, and writes down that it did."""

    def __init__(self, result: Any = None) -> None:
        self.result, self.waited = result, []
        for method in ("on_start", "on_event", "on_retry", "on_end", "on_error"):
            setattr(self, method, functools.partial(self.answer, method))

    def answer(self, method: str, step: Step, *rest: Any) -> Any:
        return self.wait(method, step) if step.loop else None

    async def wait(self, method: str, step: Step) -> Any:
        await settle()
        self.waited.append(f"{method} {step.path}")
        return self.result


async def test_the_run_goes_on_when_what_a_hook_returned_is_done():
    class Flaky(pf.AsyncNode):
        name = "n"

        async def exec_async(self, prep_res: Any) -> Any:
            await emit({"type": "x"})
            assert waits.waited[-1] == "on_event n/exec"
            if self.cur_retry == 0:
                raise ValueError
            raise KeyError

    with Waits() as waits, pytest.raises(KeyError):
        await soon(Flaky(max_retries=2).run_async({}))
    assert waits.waited == [
        "on_start n",
        "on_start n/prep",
        "on_end n/prep",
        "on_start n/exec",
        "on_event n/exec",
        "on_retry n/exec",
        "on_event n/exec",
        "on_error n/exec",
        "on_error n",
    ]


async def test_an_awaited_on_start_may_skip():
    class Never(pf.AsyncNode):
        async def prep_async(self, shared: Any) -> Any:
            pytest.fail("is skipped")

    with Waits(Skip("skipped")):
        assert await soon(pf.AsyncFlow(Never()).run_async({})) == "skipped"


async def test_the_visits_of_sync_nodes_in_an_async_flow_are_awaited_too():
    with Waits() as waits:
        await soon(pf.AsyncFlow(pf.Node()).run_async({}))
    assert [line for line in waits.waited if "Node" in line] == ["on_start AsyncFlow/0:Node", "on_end AsyncFlow/0:Node"]


@pytest.mark.parametrize("method", ["on_start", "on_end"])
def test_an_awaitable_where_nothing_awaits_it_is_refused_with_what_to_write(method: str):
    async def answer(*args: Any) -> None: ...

    hook = Hook()
    setattr(hook, method, answer)
    with (
        hook,
        pytest.raises(TypeError, match="returned an awaitable for Flow.*, where nothing awaits it: .*step.loop is set"),
    ):
        pf.Flow(pf.Node()).run({})


async def test_two_hooks_are_awaited_one_after_the_other():
    class Slow(Waits):
        async def wait(self, method: str, step: Step) -> Any:
            order.append((self.result, "begins"))
            await settle()
            order.append((self.result, "ends"))

    order: list[Any] = []
    with Slow("first"), Slow("second"):
        await soon(Bare2().run_async({}))
    assert order == [
        ("first", "begins"),
        ("first", "ends"),
        ("second", "begins"),
        ("second", "ends"),
        ("second", "begins"),
        ("second", "ends"),
        ("first", "begins"),
        ("first", "ends"),
    ]


class Bare2(pf.AsyncNode):
    async def _run_async(self, shared: Any) -> Any: ...


async def test_a_hook_that_is_cancelled_while_it_waits_ends_the_step_once():
    class Stuck(Hook):
        async def stay(self) -> None:
            await asyncio.Event().wait()

        def on_end(self, step: Step, result: Any) -> Any:
            return self.stay() if step.kind == "exec" else None

    with Lines() as lines, Stuck():
        run = asyncio.create_task(pf.AsyncFlow(pf.AsyncNode()).run_async({}))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert lines.is_balanced()
    assert lines.lines[-1] == "error AsyncFlow CancelledError()"


async def test_an_error_of_what_a_hook_holds_back_is_blamed_on_it():
    class Holds(Hook):
        async def hold(self) -> None:
            raise OSError("of the hook")

        def on_event(self, step: Step, event: Any) -> Any:
            return self.hold()

    class Emits(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await emit({"type": "x"})

    with Holds(), pytest.raises(OSError, match="of the hook") as caught:
        await Emits().run_async({})
    assert any("Holds.on_event" in note for note in notes(caught.value))


async def test_a_generator_waits_for_hooks_that_hold_back():
    class Yields(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            yield "a"
            assert waits.waited[-1] == "on_event Yields/exec"

    with Waits() as waits:
        await soon(Yields().run_async({}))


async def test_a_thread_of_an_async_node_that_emits_waits():
    class Works(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.to_thread(self.work)

        def work(self) -> None:
            emit({"type": "x"})
            assert waits.waited[-1] == "on_event Works/exec"

    with Waits() as waits:
        await soon(Works().run_async({}))


async def test_a_thread_that_a_sync_node_waits_for_does_not_wait_for_the_loop():
    class Works(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(emit, {"type": "x"}), daemon=True)
            thread.start()
            thread.join(10)
            shared["alive"] = thread.is_alive()

    shared: dict[str, Any] = {}
    with Waits() as waits:
        await soon(pf.AsyncFlow(Works()).run_async(shared))
        await settle()
    assert shared == {"alive": False}
    await settle()
    assert "on_event AsyncFlow/0:Works" in waits.waited


# With a hook as without


async def test_a_plain_def_of_a_coroutine_is_refused_with_a_hook_too():
    class Odd(pf.AsyncNode):
        def prep_async(self, shared: Any) -> Any:
            return 5

    with Hook(), pytest.raises(TypeError) as caught:
        await pf.AsyncFlow(Odd()).run_async({})
    assert "Odd.prep_async is not a coroutine: write `async def prep_async`, with no `yield`" in notes(caught.value)


async def test_an_action_of_a_sync_node_that_could_be_awaited_is_left_alone():
    class Later(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return asyncio.get_running_loop().create_future()

    with Hook():
        assert isinstance(await soon(pf.AsyncFlow(Later()).run_async({})), asyncio.Future)


# emit


def test_emit_hands_every_hook_the_very_dict_so_that_a_hook_may_answer(kit: SyncKit):
    class Answers(Hook):
        def on_event(self, step: Step, event: dict[str, Any]) -> None:
            event["answer"] = f"{step.path}: 42"

    class Asks(kit.Node):
        name = "asks"

        def exec(self, prep_res: Any) -> Any:
            event = {"type": "question"}
            emit(event)
            return event

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    kit.hooks = (Answers(),)
    assert kit.run(Asks()) == {"type": "question", "answer": "asks/exec: 42"}
    kit.hooks = ()
    assert kit.run(Asks()) == {"type": "question"}


@pytest.mark.parametrize("phase", ["prep", "exec", "post"])
def test_every_phase_may_emit(kit: SyncKit, phase: str):
    def emits(self: Any, *args: Any) -> None:
        emit({"type": "x"})

    lines = Lines()
    kit.hooks = (lines,)
    kit.run(type("Emits", (kit.Node,), {phase: emits})())
    place = "Emits" if phase == "post" else f"Emits/{phase}"
    assert [line for line in lines.lines if line.startswith("event")] == [f"event {place} x"]


@pytest.mark.parametrize("event", ["text", {"kind": "x"}, None])
def test_an_event_is_a_dict_with_a_type(event: Any):
    with pytest.raises(TypeError, match='write a dict with a "type"'):
        emit(event)


async def test_emit_can_be_awaited_wherever_it_is_called():
    await emit({"type": "x"})
    with Lines() as lines:
        await emit({"type": "x"})  # outside of a run
    assert lines.lines == []


# Log


def test_log_tells_starts_ends_retries_and_errors(kit: SyncKit, caplog: pytest.LogCaptureFixture):
    class Fails(kit.Node):
        name = "n"

        def exec(self, prep_res: Any) -> Any:
            raise KeyError("x")

    kit.hooks = (Log(),)
    with caplog.at_level(logging.INFO, "pocketflow"), pytest.raises(KeyError):
        kit.run(Fails(max_retries=2))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "start n"),
        ("INFO", "start n/prep"),
        ("INFO", "end n/prep"),
        ("INFO", "start n/exec"),
        ("WARNING", "retry n/exec in 0 s: attempt 1 failed with KeyError('x')"),
        ("ERROR", "fail n/exec: KeyError('x')"),
        ("ERROR", "fail n: KeyError('x')"),
    ]


def test_log_takes_a_logger_and_a_level(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, "own"), Log(logging.getLogger("own"), logging.DEBUG):
        Bare().run({})
    assert [(record.name, record.levelname) for record in caplog.records] == [("own", "DEBUG")] * 2
