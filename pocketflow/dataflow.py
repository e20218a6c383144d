"""Functions as nodes: `task`, and `Dataflow`, which finds out what can run at once.

    >>> def total(prices):
    ...     return sum(prices)
    >>> def mean(total, prices):
    ...     return total / len(prices)
    >>> result = Dataflow(total, mean).execute({"prices": [1, 2, 6]})
    >>> result["mean"], dict(result)
    (3.0, {'total': 9, 'mean': 3.0})

A parameter that is named like a function is an edge. A task starts the moment that its own
inputs are there: no levels, no barriers. Values travel through the store: a task reads its
parameters by name from `params`, then `shared`, and writes its result to `shared`, so hooks see
what a node of any other flow would show them. While a dataflow runs as a node, its intermediate
results stand in `shared` too; when it is done, only its final values do.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import difflib
import functools
import graphlib
import importlib
import importlib.util
import inspect
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Set
from concurrent.futures import Executor
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from pocketflow import AsyncNode, AsyncParallelBatchNode, AsyncParallelFlow
from pocketflow.executors import MakesExecutor, opened, run_on

__all__ = ["Dataflow", "MissingInput", "Result", "Task", "task"]

MISSING: Any = object()


class MissingInput(LookupError):
    """A parameter, a returned name or a wanted value is not there."""


# Tasks


class Task(AsyncNode):
    """An async node made of a function; `task` makes one, and calling it calls the function.

    name: under which the result is stored; None: the name of the function.
    returns: names to store instead. Of one name, the value of that key if the result is a dict
        that has it, else the whole result; of several, a dict is read by key, a sequence by position.
    mapping: parameter -> other key or dotted path from which it is read.
    each: parameter -> key of an iterable: the function runs once for every element, at once,
        and the result is the list of its results in their order.
    action: a function of the result that gives the action.
    executor: where a sync function runs, as for an `ExecutorNode`; None means a thread.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        returns: Iterable[str] | None = None,
        mapping: Mapping[str, str] | None = None,
        each: Mapping[str, str] | None = None,
        action: Callable[[Any], Any] | None = None,
        stream_end_type: str = "done",
        max_retries: int = 1,
        wait: Any = 0,
        executor: MakesExecutor = None,
    ) -> None:
        super().__init__(max_retries, wait)
        self.function, self.name, self.__doc__ = function, name or function.__name__, function.__doc__
        self.returns = [] if returns is None else [returns] if isinstance(returns, str) else list(returns)
        self.keys = {**dict(mapping or {}), **dict(each or {})}
        self.each, self.action, self.executor = dict(each or {}), action, executor
        self.stream_end_type = stream_end_type
        self.parameters = _parameters(self.name, function)
        self.sources = {parameter: self.keys.get(parameter, parameter).split(".")[0] for parameter in self.parameters}
        self.on_loop = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        for parameter in self.keys:
            if parameter not in self.parameters:
                raise TypeError(f"{self.name} has no parameter {parameter!r}{_closest(parameter, self.parameters)}")

    @property
    def outputs(self) -> list[str]:
        """The names that this task stores."""
        return self.returns or [self.name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def prep_async(self, shared: Any) -> Any:
        """The arguments, by name; of a task with `each` the list of those of every element."""
        arguments = {}
        for parameter, default in self.parameters.items():
            value = _read(self, parameter, shared)
            if value is not MISSING:
                arguments[parameter] = value
            elif default is inspect.Parameter.empty:
                raise _missing(self, parameter, {**shared, **self.params})
        if not self.each:
            return arguments
        elements = zip(*(arguments.pop(parameter) for parameter in self.each), strict=True)
        return [{**arguments, **dict(zip(self.each, element, strict=True))} for element in elements]

    def exec_async(self, arguments: Any) -> Any:
        if self.on_loop:
            return self.function(**arguments)
        if inspect.isgeneratorfunction(self.function):
            return _from_thread(self.function(**arguments))
        return self._elsewhere(functools.partial(self.function, **arguments))

    async def _elsewhere(self, work: Callable[[], Any]) -> Any:
        if self.executor is None:
            run = _current.get(None)
            return await run_on(run.executor if run else None, work)
        async with opened(self.executor) as executor:
            return await run_on(executor, work)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.update(self._named(exec_res))
        return None if self.action is None else self.action(exec_res)

    def _named(self, result: Any) -> dict[str, Any]:
        names = self.returns
        if len(names) < 2:
            [name] = names or [self.name]
            return {name: result[name] if names and isinstance(result, Mapping) and name in result else result}
        if isinstance(result, Mapping):
            if missing := [name for name in names if name not in result]:
                raise MissingInput(f"{self.name} returned the keys {list(result)}, without {missing}")
            return {name: result[name] for name in names}
        has_order = isinstance(result, Iterable) and not isinstance(result, str | bytes | Set)
        values = list(result) if has_order else []
        if len(values) != len(names):
            raise MissingInput(f"{self.name} returned {result!r:.100}: return a dict or a sequence of {names}")
        return dict(zip(names, values, strict=True))


class _EachTask(Task, AsyncParallelBatchNode):
    """A task with `each`: an item for every element."""


def task(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A node made of a function: `task(function)`, `@task` or `@task(name=..., ...)`; see `Task`.

    A sync function runs in a thread, an async one on the loop; a generator, sync or async, streams.

    Raises: `TypeError` for `*args`, `**kwargs` and positional-only parameters, which have no name
        to read by; when it runs, `MissingInput` that names the task, the parameter, what is there
        and the closest match.
    """
    if function is None:
        return functools.partial(task, **options)
    return (_EachTask if options.get("each") else Task)(function, **options)


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name}: the parameter {parameter} has no name to read it by; write plain parameters")
    return {parameter.name: parameter.default for parameter in parameters}


def _read(node: Task, parameter: str, shared: Any) -> Any:
    """The value of a parameter, along its dotted path; MISSING where the path leads nowhere."""
    first, *path = node.keys.get(parameter, parameter).split(".")
    value = node.params.get(first, shared.get(first, MISSING))
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key, MISSING)
        elif isinstance(value, list | tuple) and key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else MISSING
        else:
            value = getattr(value, key, MISSING) if value is not MISSING else MISSING
    return value


def _missing(node: Task, parameter: str, there: Iterable[str]) -> MissingInput:
    key = node.keys.get(parameter, parameter)
    return MissingInput(f"{node.name} needs {key!r}{_closest(key, there)}; there is {sorted(map(str, there))}")


def _closest(name: str, names: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(map(str, names)), 1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


async def _from_thread(values: Generator[Any, None, None]) -> AsyncIterator[Any]:
    """A sync generator as an async one; each of its turns runs in a thread."""
    try:
        while (value := await run_on(None, functools.partial(next, values, MISSING))) is not MISSING:
            yield value
    finally:
        await run_on(None, values.close)


# Resources


class _Resources:
    """What factories made, each once and on first use; closed in reverse order."""

    def __init__(self, factories: Mapping[str, Callable[..., Any]]) -> None:
        self.factories, self.stack = factories, contextlib.AsyncExitStack()
        self.instances: dict[str, asyncio.Future[Any]] = {}

    async def get(self, name: str) -> Any:
        if name not in self.instances:
            self.instances[name] = asyncio.ensure_future(self.make(name))
        return await asyncio.shield(self.instances[name])

    async def make(self, name: str) -> Any:
        factory: Any = self.factories[name]
        try:
            if inspect.isasyncgenfunction(factory):
                return await self.stack.enter_async_context(contextlib.asynccontextmanager(factory)())
            if inspect.isgeneratorfunction(factory):
                return self.stack.enter_context(contextlib.contextmanager(factory)())
            made = factory()
            return await made if inspect.isawaitable(made) else made
        except Exception as error:
            error.add_note(f"raised by the factory of the resource {name!r}")
            raise

    async def close(self) -> None:
        await asyncio.gather(*self.instances.values(), return_exceptions=True)
        await self.stack.aclose()


# Dataflows


class Result(Mapping[str, Any]):
    """The final values by name; reading one that failed raises its error.

    errors: name of a task -> its exception, with `on_error="collect"`.
    duration, durations: seconds, of the run and of each task that ran, without its waiting.
    run_id: another one for every run. resource_access: name -> how often a task was given it.
    """

    def __init__(self, names: list[str], shared: Mapping[str, Any], run: _Run) -> None:
        self._values, self._failed = {name: shared.get(name) for name in names}, run.failed
        self.errors, self.durations, self.resource_access = run.errors, run.durations, run.access
        self.duration, self.run_id = time.perf_counter() - run.started, run.run_id

    def __getitem__(self, name: str) -> Any:
        if name in self._failed:
            raise self._failed[name]
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        values = ((name, self._failed.get(name, value)) for name, value in self._values.items())
        return f"Result({{{', '.join(f'{name!r}: {value!r}' for name, value in values)}}})"


class _Run:
    """What one run of a dataflow has to remember."""

    def __init__(self, flow: Dataflow, resources: _Resources) -> None:
        self.done = {node.name: asyncio.Event() for node in flow.branches}
        self.slots = asyncio.Semaphore(flow.limit) if flow.limit else None
        self.resources = resources
        self.executor: Executor | None = None  # None: threads
        self.errors: dict[str, Exception] = {}  # of the tasks that failed
        self.failed: dict[str, Exception] = {}  # of all names that have no value for it
        self.durations: dict[str, float] = {}
        self.access = dict.fromkeys(resources.factories, 0)
        self.started, self.run_id = time.perf_counter(), uuid.uuid4().hex

    def finish(self, node: Task, error: Exception | None) -> None:
        """Let the users of a task go on; with an error there is nothing for them."""
        if error is not None:
            self.failed.update(dict.fromkeys([node.name, *node.outputs], error))
        self.done[node.name].set()


_current: ContextVar[_Run] = ContextVar("run")  # of the dataflow around
_begun: ContextVar[list[_Run]] = ContextVar("begun")  # where an execute() waits for its run


class Dataflow(AsyncParallelFlow):
    """Runs functions as soon as their inputs are there; a program of its own, or a node of a flow.

    sources: functions, tasks, modules, or names of modules. The public functions and tasks that a
        module defines are its tasks. Of two with one name the later source wins.
    final_vars: the names of the values that are wanted; None means all. Only what they need is run.
    max_concurrency: how many tasks run at once at most; None means all that can.
    executor: where sync functions run, as for an `ExecutorNode`; None means threads.
    resources: parameter -> factory of the one instance that all tasks share, made on first use: a
        plain or async callable, or a generator function whose rest after its one `yield` cleans up.
        Clean-up runs in reverse order at the end of a run, or of `async with dataflow:`.
    on_error: "raise" the first error, when all other tasks have been cancelled and awaited; or
        "collect" errors, and run all that does not depend on what failed.
    base_dir: where modules that are given by name are looked for first; None: import only.

    As a node it reads inputs from `shared` and leaves its final values there.

    Raises: before anything runs, `ValueError` for a cycle or for two tasks that store one name,
        `MissingInput` for an input or final value that is not there, `ImportError` with all names tried.
    """

    def __init__(
        self,
        *sources: Any,
        final_vars: Iterable[str] | None = None,
        max_concurrency: int | None = None,
        executor: MakesExecutor = None,
        resources: Mapping[str, Callable[..., Any]] | None = None,
        on_error: str = "raise",
        base_dir: str | Path | None = None,
    ) -> None:
        if on_error not in ("raise", "collect"):
            raise ValueError(f'on_error={on_error!r}: write "raise" or "collect"')
        if max_concurrency is not None and max_concurrency < 1:
            raise ValueError(f"{type(self).__name__}: max_concurrency must be at least 1, not {max_concurrency!r}")
        super().__init__()
        self.limit, self.executor, self.on_error = max_concurrency, executor, on_error
        self.factories = dict(resources or {})
        self.final_vars = None if final_vars is None else list(final_vars)
        self.sources = [_load(source, base_dir) if isinstance(source, str) else source for source in sources]
        self.resources: _Resources | None = None
        self._plan()

    def _plan(self) -> None:
        """Find the tasks and edges of the sources, and what has to run for the final values."""
        self.tasks = {node.name: node for source in self.sources for node in _tasks(source)}
        makers: dict[str, str] = {}
        for node in self.tasks.values():
            for output in node.outputs:
                if output in makers:
                    raise ValueError(f"{makers[output]} and {node.name} both store {output!r}: rename one")
                makers[output] = node.name
        self.makers = makers
        self.edges = {
            node.name: [makers[key] for key in dict.fromkeys(node.sources.values()) if key in makers]
            for node in self.tasks.values()
        }
        wanted = list(makers) if self.final_vars is None else self.final_vars
        for name in wanted:
            if name not in makers:
                raise MissingInput(f"no task stores {name!r}{_closest(name, makers)}; there is {sorted(makers)}")
        self.wanted = wanted
        self.needs = {node.name: self.factories.keys() & node.sources.values() for node in self.tasks.values()}
        self.branches = tuple(self.tasks[name] for name in self._order({makers[name] for name in wanted}))

    def _order(self, names: set[str]) -> list[str]:
        """The tasks that the named ones need, themselves included, inputs before their users."""
        try:
            order = list(graphlib.TopologicalSorter(self.edges).static_order())
        except graphlib.CycleError as error:
            raise ValueError(f"a cycle: {' <- '.join(error.args[1])}") from None
        needed = set(names)
        for name in reversed(order):
            if name in needed:
                needed.update(self.edges[name])
        return [name for name in order if name in needed]

    def execute(
        self, inputs: Mapping[str, Any] | None = None, *, final_vars: Iterable[str] | None = None, reload: bool = False
    ) -> Result:
        """Run on a copy of `inputs`, and return the `Result`. `final_vars`: in place of those of the dataflow.

        reload: read the source of every module again before.
        Raises: `RuntimeError` inside of a running event loop.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.execute_async(inputs, final_vars=final_vars, reload=reload))
        raise RuntimeError("execute() inside of a running event loop: write await dataflow.execute_async(...)")

    async def execute_async(
        self, inputs: Mapping[str, Any] | None = None, *, final_vars: Iterable[str] | None = None, reload: bool = False
    ) -> Result:
        """What `execute` does, inside of an event loop."""
        if reload:
            self._reload()
        flow = self if final_vars is None else self._with(list(final_vars))
        shared = dict(inputs or {})
        for name in shared:
            if name in flow.makers:
                raise ValueError(f"the input {name!r} is what the task {flow.makers[name]} stores: rename one")
        begun: list[_Run] = []
        token = _begun.set(begun)
        try:
            await flow.run_async(shared)
        finally:
            _begun.reset(token)
        return Result(flow.wanted, shared, begun[0])

    def _reload(self) -> None:
        for source in self.sources:
            if isinstance(source, ModuleType):
                _read_again(source)
        vars(self).update(vars(self._with(self.final_vars)))  # all at once, so that a failure changes nothing

    def _with(self, final_vars: list[str] | None) -> Dataflow:
        """This dataflow, planned anew for other final values."""
        flow = copy.copy(self)
        flow.final_vars = final_vars
        flow._plan()
        return flow

    async def __aenter__(self) -> Dataflow:
        self.resources = _Resources(self.factories)
        return self

    async def __aexit__(self, *_: Any) -> None:
        resources, self.resources = self.resources, None
        if resources is not None:
            await resources.close()

    async def prep_async(self, shared: Any) -> Any:
        """Refuse what is missing, or would be overwritten, before anything runs."""
        there = {*shared, *self.params, *self.factories, *self.makers}
        for node in self.branches:
            for parameter, key in node.sources.items():
                if key not in there and node.parameters[parameter] is inspect.Parameter.empty:
                    raise _missing(node, parameter, there)
        for name in self._intermediate():
            if name in shared:
                raise ValueError(f"{self.makers[name]} would overwrite shared[{name!r}]: rename one")

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Leave the final values in `shared`, and nothing between."""
        for name in self._intermediate():
            shared.pop(name, None)

    def _intermediate(self) -> list[str]:
        return [name for node in self.branches for name in node.outputs if name not in self.wanted]

    async def _run_async(self, shared: Any) -> Any:
        resources = self.resources or _Resources(self.factories)
        run = _Run(self, resources)
        _begun.get([]).append(run)
        token = _current.set(run)
        try:
            async with opened(self.executor) if self.executor else contextlib.nullcontext() as run.executor:
                return await super()._run_async(shared) if self.branches else None
        finally:
            _current.reset(token)
            if self.resources is None:
                await resources.close()

    async def _orch_async(self, shared: Any, params: dict[str, Any] | None = None) -> Any:
        """One branch: wait for the inputs of its task, then for a slot, and run it."""
        run = _current.get()
        node: Task = self.start_node
        for name in self.edges[node.name]:
            if not run.done[name].is_set():
                await run.done[name].wait()
        if run.slots is None:
            return await self._run_task(run, node, shared)
        async with run.slots:
            return await self._run_task(run, node, shared)

    async def _run_task(self, run: _Run, node: Task, shared: Any) -> Any:
        if failed := [name for name in self.edges[node.name] if name in run.failed]:
            return run.finish(node, run.failed[failed[0]])
        started, params = time.perf_counter(), {**self.params}
        error: Exception | None = None
        try:
            for name in self.needs[node.name]:
                params[name] = await run.resources.get(name)
                run.access[name] += 1
            return await super()._orch_async(shared, params)
        except Exception as raised:
            run.errors[node.name] = error = raised
            if self.on_error == "raise":
                raise
            return None
        finally:
            run.durations[node.name] = time.perf_counter() - started
            run.finish(node, error)


# Modules


def _tasks(source: Any) -> list[Task]:
    """The tasks of a source, in the order in which they are defined."""
    if isinstance(source, Task):
        return [source]
    if isinstance(source, ModuleType):
        found = (value for name, value in vars(source).items() if not name.startswith("_") and _defined(value, source))
        return [value if isinstance(value, Task) else task(value) for value in found]
    if inspect.isfunction(source):
        return [task(source)]
    raise TypeError(f"{source!r} is no source: write a function, a task, a module, or the name of one")


def _defined(value: Any, module: ModuleType) -> bool:
    function = value.function if isinstance(value, Task) else value
    return inspect.isfunction(function) and function.__module__ == module.__name__


def _load(name: str, base_dir: str | Path | None) -> ModuleType:
    plain = list(dict.fromkeys([name, name.replace("-", "_")]))
    tried = [*plain, *(f"pipelines.{candidate}" for candidate in plain)]
    for candidate in tried if base_dir is not None else []:
        path = Path(base_dir or ".", *candidate.split(".")).with_suffix(".py")
        if path.is_file():
            return _load_file(candidate, path, Path(base_dir or "."))
    for candidate in tried:
        if _exists(candidate):
            return importlib.import_module(candidate)
    place = "" if base_dir is None else f" in {Path(base_dir).resolve()} or"
    raise ImportError(f"no module {name!r}{place} to import: tried {', '.join(tried)}", name=name)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # no such package, or a name that cannot be one
        return False


def _load_file(name: str, path: Path, base_dir: Path) -> ModuleType:
    """Run a file as a module of a name of its own, so that it may be called like one of Python's."""
    module = ModuleType(f"pipeline:{name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    folder = str(base_dir.resolve())
    sys.path.insert(0, folder)  # for what it imports beside itself
    try:
        _read_again(module)
    finally:
        sys.path.remove(folder)
    return module


def _read_again(module: ModuleType) -> None:
    """Run the source of a module anew, in an empty namespace, as it stands on the disk now."""
    path = Path(str(getattr(module, "__file__", None)))
    if path.suffix != ".py":
        raise ImportError(f"{module.__name__} has no source to read again: its file is {path}")
    kept = {name: value for name, value in vars(module).items() if name.startswith("__")}
    before = dict(vars(module))
    vars(module).clear()
    vars(module).update(kept)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except BaseException:
        vars(module).clear()
        vars(module).update(before)
        raise
