"""Dataflows composed of modules: by name or object, overridden, reloaded, and not found.

Each test has the name of a scenario of pipelines that are run with additional modules. Where
other systems switch a driver between sync and async, here `execute` is sync, `execute_async`
is awaited, and both do the same.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketflow.dataflow import Dataflow, MissingInput
from pocketflow.hooks import hooked
from tests.hooks.hooks import Lines

SETUP = """
from os.path import join  # imported, so no task

def name() -> str:
    return "World"

def greeting() -> str:
    return _helper()

def _helper() -> str:
    return "Hello"
"""
HELLO = """
def full_greeting(greeting: str, name: str) -> str:
    return f"{greeting}, {name}!"
"""


pytestmark = pytest.mark.usefixtures("forgets_imports")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to import from."""
    (tmp_path / "hello_world.py").write_text(HELLO)
    (tmp_path / "setup_it.py").write_text(SETUP)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def both_ways(flow: Dataflow, inputs: Any = None, **options: Any) -> dict[str, Any]:
    """What `execute` and `execute_async` give, which has to be the same."""
    result = dict(flow.execute(inputs, **options))
    assert dict(asyncio.run(flow.execute_async(inputs, **options))) == result
    return result


def test_execute_with_string_module_names(folder: Path):
    flow = Dataflow("hello_world", "setup_it")
    assert both_ways(flow)["full_greeting"] == "Hello, World!"
    assert set(flow.tasks) == {"full_greeting", "name", "greeting"}


def test_execute_with_module_objects(folder: Path):
    modules = [importlib.import_module(name) for name in ("hello_world", "setup_it")]
    by_object = Dataflow(*modules)
    assert both_ways(by_object) == both_ways(Dataflow("hello_world", "setup_it"))
    assert by_object.sources == modules


def test_missing_module_raises_helpful_error(folder: Path):
    names = "no-such, no_such, pipelines.no-such, pipelines.no_such"
    with pytest.raises(ImportError, match=f"no module 'no-such' to import: tried {names}"):
        Dataflow("hello_world", "no-such")
    with pytest.raises(ImportError, match=f"{folder} or to import: tried {names}"):
        Dataflow("no-such", base_dir=folder)


def test_names_are_looked_for_under_pipelines_and_with_underscores(folder: Path):
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "deep_one.py").write_text("def deep(): return 1")
    assert Dataflow("deep-one").execute()["deep"] == 1
    assert Dataflow("deep-one", base_dir=folder).execute()["deep"] == 1


def test_precedence_order_determines_node_override(folder: Path):
    (folder / "override.py").write_text('def name(): return "Moon"')
    assert both_ways(Dataflow("hello_world", "setup_it", "override"))["full_greeting"] == "Hello, Moon!"
    assert both_ways(Dataflow("hello_world", "override", "setup_it"))["full_greeting"] == "Hello, World!"


@pytest.mark.parametrize("base_dir", [False, True])
def test_reload_reloads_all_loaded_modules(folder: Path, base_dir: bool):
    flow = Dataflow("hello_world", "setup_it", base_dir=folder if base_dir else None)
    assert both_ways(flow, reload=True)["full_greeting"] == "Hello, World!"
    # The same size, within the same second: only the source itself tells that it changed.
    (folder / "setup_it.py").write_text(SETUP.replace("World", "Earth"))
    (folder / "hello_world.py").write_text(HELLO.replace("!", "?"))
    assert both_ways(flow)["full_greeting"] == "Hello, World!"
    assert both_ways(flow, reload=True)["full_greeting"] == "Hello, Earth?"
    assert both_ways(flow)["full_greeting"] == "Hello, Earth?"


def test_what_was_deleted_is_gone_after_a_reload(folder: Path):
    flow = Dataflow("hello_world", "setup_it")
    (folder / "setup_it.py").write_text("def greeting(): return 'Hi'")
    with pytest.raises(MissingInput, match="full_greeting needs 'name'"):
        flow.execute(reload=True)
    assert flow.execute({"name": "you"}, reload=True)["full_greeting"] == "Hi, you!"


def test_a_reload_that_fails_leaves_the_module_as_it_was(folder: Path):
    flow = Dataflow("hello_world", "setup_it")
    (folder / "setup_it.py").write_text("def greeting( return")
    with pytest.raises(SyntaxError):
        flow.execute(reload=True)
    assert flow.execute()["full_greeting"] == "Hello, World!"


def test_a_module_without_a_source_cannot_be_read_again():
    with pytest.raises(ImportError, match="math has no source to read again"):
        Dataflow(importlib.import_module("math")).execute(reload=True)


def test_works_for_async_execution(folder: Path):
    async def main() -> Any:
        return await Dataflow("hello_world", "setup_it").execute_async(final_vars=["full_greeting"])

    assert dict(asyncio.run(main())) == {"full_greeting": "Hello, World!"}


def test_cross_module_final_vars(folder: Path):
    flow = Dataflow("hello_world", "setup_it")
    assert both_ways(flow, final_vars=["name", "full_greeting"]) == {"name": "World", "full_greeting": "Hello, World!"}


def test_async_execution_succeeds(folder: Path):
    """With tasks that are coroutine functions, which `execute` runs as well."""
    (folder / "slow.py").write_text("import asyncio\nasync def name():\n    await asyncio.sleep(0)\n    return 'Async'")
    assert both_ways(Dataflow("hello_world", "setup_it", "slow"))["full_greeting"] == "Hello, Async!"


async def test_the_sync_call_in_a_loop_names_the_async_one(folder: Path):
    """Where others set a driver and refuse the wrong one, the wrong call says which is right."""
    with pytest.raises(RuntimeError, match="execute_async"):
        Dataflow("hello_world", "setup_it").execute()


def test_reload_and_logging_parity(folder: Path, caplog: pytest.LogCaptureFixture):
    """A log level is Python's own; tasks log in both ways of running, after a reload too."""
    source = "import logging\ndef name():\n    logging.getLogger('hello').debug('asked')\n    return 'World'"
    (folder / "logs.py").write_text(source)
    flow = Dataflow("hello_world", "setup_it", "logs")
    with caplog.at_level(logging.DEBUG, logger="hello"):
        both_ways(flow, reload=True)
    assert [record.message for record in caplog.records if record.name == "hello"] == ["asked", "asked"]


def test_helpful_error_on_missing_dependency(folder: Path):
    """The error of a module that was found is its own, and names what it could not import."""
    (folder / "broken.py").write_text("import no_such_dependency")
    for base_dir in (None, folder):
        with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
            Dataflow("broken", base_dir=base_dir)
        assert caught.value.name == "no_such_dependency"


def test_adapters_propagate_to_async(folder: Path):
    """Adapters are hooks here: installed around either way of running, they see the same."""
    flow, logs = Dataflow("hello_world", "setup_it"), [Lines(), Lines()]
    with hooked(logs[0]):
        flow.execute()
    with hooked(logs[1]):
        asyncio.run(flow.execute_async())
    assert sorted(logs[0].paths()) == sorted(logs[1].paths())


def test_a_module_in_base_dir_may_be_called_like_one_of_python(folder: Path):
    own = folder / "own"
    own.mkdir()
    (own / "statistics.py").write_text("import beside\ndef mean(rows): return beside.half(sum(rows))")
    (own / "beside.py").write_text("def half(x): return x / 2")
    assert Dataflow("statistics", base_dir=own).execute({"rows": [1, 2]})["mean"] == 1.5
    assert inspect.getfile(importlib.import_module("statistics")) != str(own / "statistics.py")
    assert sys.path.index(str(own)) > sys.path.index(os.path.dirname(os.__file__)), "Python's own come first"


def test_decorated_functions_of_a_module_are_tasks_too(folder: Path):
    source = "from pocketflow.dataflow import task\n@task(name='doubled')\ndef twice(x): return x * 2"
    (folder / "decorated.py").write_text(source)
    assert dict(Dataflow("decorated").execute({"x": 2})) == {"doubled": 4}
