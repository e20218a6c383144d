"""What an error says of where it arose, and what is refused when a class is defined; every warning."""

from __future__ import annotations

import asyncio
import dataclasses
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import Say, notes
from tests.kits import SyncKit

# Notes


@pytest.mark.fixed
def test_an_error_carries_a_line_a_level_innermost_first(kit: SyncKit):
    class Fails(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return [10, 11, 12]

        def exec(self, item: int) -> Any:
            if item == 12:
                raise ValueError("no")

    class Entries(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"lang": "en"}]

    class Outer(kit.Flow): ...

    with pytest.raises(ValueError, match="no") as caught:
        kit.run(Outer(Entries(Fails(max_retries=2))))
    assert notes(caught.value) == [
        "attempts: 2, before with ValueError('no')",
        "item 2: 12",
        "in Fails",
        "entry 0: {'lang': 'en'}",
        "in Entries",
        "in Outer",
    ]


@pytest.mark.fixed
def test_a_flow_tells_its_params(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise ValueError("no")

    flow = kit.Flow(Fails())
    flow.set_params({"lang": "en"})
    with pytest.raises(ValueError, match="no") as caught:
        kit.run(flow)
    assert notes(caught.value)[0] == "in Fails"
    assert notes(caught.value)[1].endswith("Flow with params {'lang': 'en'}")


@pytest.mark.fixed
def test_the_attempts_tell_what_each_of_them_failed_with(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise KeyError(f"try {len(tries)}")

    tries: list[int] = []
    with pytest.raises(KeyError, match="try 3") as caught:
        kit.run(Fails(max_retries=3))
    assert notes(caught.value) == ["attempts: 3, before with KeyError('try 1'), KeyError('try 2')", "in Fails"]


@pytest.mark.fixed
@pytest.mark.parametrize("phase", ["prep", "post"])
def test_errors_of_prep_and_post_and_of_a_flow_itself_say_where_they_arose(kit: SyncKit, phase: str):
    def fail(self: Any, *args: Any) -> Any:
        raise ValueError(phase)

    node = type("Inner", (kit.Node,), {phase: fail})
    flow = type("Middle", (kit.Flow,), {phase: fail})
    for inner, expected in ((kit.Flow(node()), "in Inner"), (flow(kit.Node()), "in Middle")):
        with pytest.raises(ValueError, match=phase) as caught:
            kit.run(kit.Flow(inner))
        assert notes(caught.value)[0] == expected


@pytest.mark.fixed
def test_an_error_between_two_items_blames_no_item(kit: SyncKit):
    class Pulls(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            yield 1
            raise ValueError("of the source")

    with pytest.raises(ValueError, match="of the source") as caught:
        kit.run(Pulls())
    assert notes(caught.value) == ["in Pulls"]


@pytest.mark.new
def test_a_branch_is_named_by_its_number():
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            raise ValueError("no")

    first = Say()
    first >> [Say(), Fails()]
    with pytest.raises(ValueError, match="no") as caught:
        asyncio.run(pf.AsyncFlow(first).run_async({}))
    told = notes(caught.value)
    assert told[0] == "in Fails"
    assert told[1].startswith("branch 1: ")
    assert told[2:] == ["in AsyncParallelFlow", "in AsyncFlow"]


@pytest.mark.fixed
def test_a_node_with_a_name_is_called_by_it(kit: SyncKit):
    class Fails(kit.Node):
        name = "fetch the page"

        def exec(self, prep_res: Any) -> Any:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        kit.run(Fails())
    assert notes(caught.value) == ["in fetch the page"]


@pytest.mark.fixed
def test_a_value_in_a_note_is_short_and_never_an_error_of_its_own(kit: SyncKit):
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    class Fails(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["items"]

        def exec(self, item: Any) -> Any:
            raise ValueError("no")

    for item in (Hostile(), "x" * 100_000, list(range(100_000))):
        with pytest.raises(ValueError, match="no") as caught:
            kit.run(Fails(), {"items": [item]})
        assert notes(caught.value)[0].startswith("item 0: ")
        assert len("".join(notes(caught.value))) < 300


@pytest.mark.fixed
@pytest.mark.usefixtures("traced")
def test_a_large_item_of_bytes_is_cut_before_it_is_written_out(kit: SyncKit):
    class Fails(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return [shared["page"]]

        def exec(self, item: Any) -> Any:
            raise ValueError("no")

    page = b"%PDF" + bytes(1_000_000)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    with pytest.raises(ValueError, match="no") as caught:
        kit.run(Fails(), {"page": page})
    assert notes(caught.value)[0].startswith("item 0: b'%PDF")
    assert tracemalloc.get_traced_memory()[1] - before < len(page)


def test_an_exception_that_is_frozen_passes_unchanged(kit: SyncKit):
    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise Frozen(5)

    with pytest.raises(Frozen) as caught:
        kit.run(kit.Flow(Fails(max_retries=2)))
    assert caught.value.code == 5


def test_notes_that_are_no_list_of_texts_hide_nothing(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            error = KeyError("own error")
            error.__notes__ = "which Python allows"  # type: ignore[assignment]  # as it does
            raise error

    with pytest.raises(KeyError, match="own error"):
        kit.run(Fails(max_retries=2))


def test_the_exception_that_leaves_is_the_one_that_was_raised(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise error

    error = KeyError("own error")
    with pytest.raises(KeyError) as caught:
        kit.run(kit.Flow(kit.Flow(Fails())))
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


# Refused when a class is defined


@pytest.mark.fixed
@pytest.mark.parametrize("base", ["Node", "BatchNode", "Flow", "BatchFlow"])
@pytest.mark.parametrize("phase", ["prep", "exec", "post", "exec_fallback"])
def test_async_def_where_a_sync_phase_belongs_is_refused_with_the_class_and_the_name(base: str, phase: str):
    async def misplaced(*args: Any) -> None: ...

    if "Flow" in base and phase in ("exec", "exec_fallback"):
        phase = "prep"  # a flow has no exec
    with pytest.raises(TypeError, match=rf"Odd\.{phase} is async: .*AsyncNode.* {phase}_async"):
        type("Odd", (getattr(pf, base),), {phase: misplaced})


@pytest.mark.fixed
def test_an_async_generator_where_exec_belongs_is_refused_too():
    with pytest.raises(TypeError, match=r"Odd\.exec is async"):

        class Odd(pf.Node):
            async def exec(self, prep_res: Any) -> Any:
                yield 1


@pytest.mark.fixed
@pytest.mark.parametrize("phase", ["prep_async", "post_async", "exec_fallback_async"])
def test_a_plain_def_where_a_coroutine_belongs_is_told_with_class_and_method(phase: str):
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise KeyError

    odd = type("Odd", (pf.AsyncNode if phase == "post_async" else Fails,), {phase: lambda self, *args: 5})
    with pytest.raises(TypeError) as caught:
        asyncio.run(pf.AsyncFlow(odd()).run_async({}))
    assert f"Odd.{phase} is not a coroutine: write `async def {phase}`, with no `yield`" in notes(caught.value)


@pytest.mark.fixed
def test_a_yield_in_prep_async_is_told_with_class_and_method():
    class Odd(pf.AsyncBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            yield 1

    with pytest.raises(TypeError) as caught:
        asyncio.run(pf.AsyncFlow(Odd()).run_async({}))
    assert notes(caught.value) == [
        "in Odd",
        "Odd.prep_async is not a coroutine: write `async def prep_async`, with no `yield`",
        "in AsyncFlow",
    ]


@pytest.mark.fixed
def test_a_sync_node_whose_error_speaks_of_await_is_not_told_of_coroutines():
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            raise TypeError("object int can't be used in 'await' expression")

    with pytest.raises(TypeError) as caught:
        pf.Flow(Fails()).run({})
    assert notes(caught.value) == ["in Fails", "in Flow"]


@pytest.mark.fixed
def test_an_exec_async_that_is_no_coroutine_is_told_what_to_write():
    class Wrong(pf.AsyncNode):
        def exec_async(self, prep_res: Any) -> Any:
            return 5

    with pytest.raises(TypeError, match=r"Wrong.exec_async returned 5: write it as `async def`"):
        asyncio.run(Wrong().run_async({}))


# Warnings


@pytest.mark.new
@pytest.mark.parametrize("place", ["sync", "async"])
def test_every_warning_is_a_flow_warning_at_the_line_of_the_user(place: str):
    a = Say("a", "lost")
    a - "x" >> Say()
    with pytest.warns(pf.FlowWarning) as caught:  # noqa: PT031  three warnings, one list
        if place == "sync":
            pf.Flow(pf.Flow(a)).run({})
        else:
            asyncio.run(pf.AsyncFlow(pf.AsyncFlow(a)).run_async({}))
        a.run({})
        a - "x" >> Say()
    assert issubclass(pf.FlowWarning, UserWarning)
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name] * 3


@pytest.mark.new
def test_a_warning_made_an_error_stops_the_flow():
    a = Say("a", "lost")
    a - "x" >> Say()
    with warnings.catch_warnings():
        warnings.simplefilter("error", pf.FlowWarning)
        with pytest.raises(pf.FlowWarning, match="'lost' not found"):
            pf.Flow(a).run({})


@pytest.mark.new
def test_a_name_is_the_name_attribute_if_that_is_a_text_and_else_the_class():
    named, numbered, empty = Say(), Say(), Say()
    named.name, numbered.name, empty.name = "fetch", 5, ""
    assert [pf.name_of(node) for node in (named, numbered, empty, Say())] == ["fetch", "Say", "Say", "Say"]
