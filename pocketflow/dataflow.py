"""Functions as nodes: `task`, and `Dataflow`, which finds out what can run at once.

    >>> def total(prices):
    ...     return sum(prices)
    >>> def mean(total, prices):
    ...     return total / len(prices)
    >>> result = Dataflow(total, mean).execute({"prices": [1, 2, 6]})
    >>> result["mean"], dict(result)
    (3.0, {'total': 9, 'mean': 3.0})

A parameter that has the name of a function is an edge. A task starts as soon as its own inputs
are there: there are no levels and no barriers. Values pass through the store: a task reads its
parameters by name from `params`, then from `shared`, and writes its result to `shared`, so hooks
see the same as in any other flow. While a dataflow runs as a node, its intermediate results are in
`shared` too; when it is done, only its final values are left there.

A limit holds for one run. For a limit on all requests of a server, use plain Python: a semaphore
inside async functions, and one executor for the sync functions of all dataflows:

    >>> llm_slots, threads = asyncio.Semaphore(4), ThreadPoolExecutor(4)
    >>> async def answer(question):
    ...     async with llm_slots:
    ...         return f"{question} Because."
    >>> def length(answer):
    ...     return len(answer)
    >>> served = Dataflow(answer, length, executor=threads)
    >>> served.execute({"question": "Why?"})["length"]
    13
    >>> threads.shutdown()
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import graphlib
import inspect
import time
import types
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

from pocketflow import AsyncFlow, AsyncNode, BaseNode, Flow, name_of, watcher
from pocketflow.executors import ExecutorBatchNode, ExecutorNode, MakesExecutor, Pool
from pocketflow.hooks import ended
from pocketflow.modules import closest, functions_of, module_named, read_again
from pocketflow.text import plain

__all__ = ["Dataflow", "MissingInput", "Result", "Task", "task"]

MISSING: Any = object()
REQUIRED: Any = inspect.Parameter.empty
THREADS = 32  # of a run that has no limit: they are made as they are needed


class MissingInput(LookupError):
    """A parameter, a returned name or a wanted value is missing."""


# Tasks


class Input(NamedTuple):
    """A parameter of a task: its annotation, `Any` if it has none, and its default."""

    annotation: Any = Any
    default: Any = REQUIRED

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED


class Task(ExecutorNode):
    """A node made of a function or of a flow; `task` makes one, and calling it calls the function.

    name: the key under which the result is stored; None means the name of the function.
    returns: names to store instead. With one name: the value of that key if the result is a dict
        that has it, else the whole result. With several: a dict is read by key, a sequence by position.
    mapping: parameter -> another key, or a dotted path, from which it is read.
    each: parameter -> key of an iterable: the function runs once for each element, all at once, and
        the list of results, in order, is stored.
    action: a function of the result that gives the action.
    executor: where a sync function runs, as for an `ExecutorNode`; None means a thread.

    A flow runs on a store of its own, which begins with the arguments. Its result is the values of
    `returns` there, else the final values of a dataflow, else the whole store. The parameters are
    the inputs of a dataflow, or, for another flow, those that `mapping` and `each` name.

    parameters: name -> `Input`. needs: parameter -> the key of the store that it is read from.
    outputs: the names that are stored. flow: the flow that it is made of; None for a function.
    """

    name: str

    def __init__(
        self,
        function: Callable[..., Any] | BaseNode,
        *,
        name: str | None = None,
        returns: Iterable[str] | None = None,
        mapping: Mapping[str, str] | None = None,
        each: Mapping[str, str] | None = None,
        action: Callable[[Any], Any] | None = None,
        stream_end_type: str = "done",
        max_retries: int = 1,
        wait: Any = 0,
        executor: MakesExecutor | Pool = None,
    ) -> None:
        super().__init__(max_retries, wait, executor=executor)
        self.action, self.stream_end_type = action, stream_end_type
        self.returns = _names(returns) or []
        self.each = dict(each or {})
        self.keys = {**dict(mapping or {}), **self.each}
        self.flow = function if isinstance(function, BaseNode) else None
        if self.flow is None:
            self.function: Callable[..., Any] = function  # type: ignore[assignment]  # it is not a node
            self.__doc__ = function.__doc__
            self.name = name or str(getattr(function, "__name__", type(function).__name__))
            self.parameters = _parameters(self.name, self.function)
        else:
            self.function, self.name = _running(self.flow, self.returns), name or name_of(self.flow)
            self.parameters = {**dict.fromkeys(self.keys, Input()), **getattr(self.flow, "inputs", {})}
        for parameter in self.keys:
            if parameter not in self.parameters:
                raise TypeError(f"{self.name} has no parameter {parameter!r}{closest(parameter, self.parameters)}")
        places = {name: self.keys.get(name, name).split(".") for name in self.parameters}
        self.needs = {name: key for name, [key, *_] in places.items()}
        self._reads = [(name, key, path, self.parameters[name].default) for name, [key, *path] in places.items()]
        self.is_async = _is_async(self.function)

    @property
    def outputs(self) -> list[str]:
        return self.returns or [self.name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def prep_async(self, shared: Any) -> Any:
        """The arguments by name; for a task with `each`, a list of them, one for each element."""
        params, arguments = self.params, dict[str, Any]()
        for parameter, key, path, default in self._reads:
            value = params[key] if key in params else shared.get(key, MISSING)
            if path:
                value = functools.reduce(_inside, path, value)
            if value is not MISSING:
                arguments[parameter] = value
            elif default is REQUIRED:
                raise _missing(self, parameter, {**shared, **params})
            elif parameter in self.each:
                arguments[parameter] = default
        if not self.each:
            return arguments
        elements = zip(*(arguments.pop(parameter) for parameter in self.each), strict=True)
        return [{**arguments, **dict(zip(self.each, element, strict=True))} for element in elements]

    def _exec(self, prep_res: Any) -> Any:
        """What is async needs no executor."""
        return super(ExecutorNode, self)._exec(prep_res) if self.is_async else super()._exec(prep_res)

    def exec_async(self, arguments: Any, /) -> Any:
        if self.is_async:
            return self.function(**arguments)
        if inspect.isgeneratorfunction(self.function):
            return self._streamed(self.function(**arguments))
        return self.elsewhere(arguments, functools.partial(self.function, **arguments))

    async def _streamed(self, values: Generator[Any, None, None]) -> AsyncIterator[Any]:
        """A sync generator as an async one; each of its turns runs in a thread."""
        is_here = isinstance(self.pool.executor, ThreadPoolExecutor)  # a generator cannot travel
        async with contextlib.nullcontext(self.pool) if is_here else Pool(threads=1) as pool:
            try:
                while (value := await pool.run(lambda: self.name, next, values, MISSING)) is not MISSING:
                    yield value
            finally:
                await pool.run(lambda: self.name, values.close)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.update(self._named(exec_res))
        return None if self.action is None else self.action(exec_res)

    def _named(self, result: Any, /) -> dict[str, Any]:
        """The values to store, by name."""
        names = self.returns
        if not names:
            return {self.name: result}
        if len(names) == 1:
            [name] = names
            return {name: result[name] if isinstance(result, Mapping) and name in result else result}
        if isinstance(result, Mapping):
            if missing := [name for name in names if name not in result]:
                raise MissingInput(f"{self.name} returned the keys {list(result)}, without {missing}")
            return {name: result[name] for name in names}
        has_order = isinstance(result, Iterable) and not isinstance(result, str | bytes | Set)
        values = list(result) if has_order else []
        if len(values) != len(names):
            raise MissingInput(f"{self.name} returned {result!r:.100}: return a dict or a sequence of {names}")
        return dict(zip(names, values, strict=True))


class _EachTask(Task, ExecutorBatchNode):
    """A task with `each`: one item for each element."""

    @property
    def threads(self) -> int | None:
        return self.max_concurrency or THREADS

    def _named(self, results: Any, /) -> dict[str, Any]:
        named = [super(_EachTask, self)._named(result) for result in results]
        return {name: [values[name] for values in named] for name in self.outputs}


def task(function: Callable[..., Any] | BaseNode | None = None, **options: Any) -> Any:
    """A node made of a function or a flow: `task(function)`, `@task` or `@task(name=..., ...)`; see `Task`.

    A sync function runs in a thread, an async one on the loop; a generator, sync or async, streams.

    Raises: `TypeError` for `*args`, `**kwargs` and positional-only parameters, which have no name
        to be read by; when it runs, `MissingInput`, which names the task, the parameter, what is
        there and the closest match.
    """
    if function is None:
        return functools.partial(task, **options)
    return (_EachTask if options.get("each") else Task)(function, **options)


def _names(names: Iterable[str] | None) -> list[str] | None:
    """A list of names; of a text, which is an iterable of its letters, that one name."""
    return [names] if isinstance(names, str) else None if names is None else list(names)


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, Input]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception:  # whatever the evaluation of a user's annotation raises
        signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name}: the parameter {parameter} has no name to read it by; write plain parameters")
    return {
        parameter.name: Input(Any if parameter.annotation is REQUIRED else parameter.annotation, parameter.default)
        for parameter in signature.parameters.values()
    }


def _running(flow: Any, returns: list[str]) -> Callable[..., Any]:
    """A function of the arguments that runs a flow or node; it is async if they are."""
    names = returns or getattr(flow, "outputs", [])
    return functools.partial(_run_async if isinstance(flow, AsyncNode) else _run, flow, names)


async def _run_async(flow: Any, names: list[str], /, **store: Any) -> dict[str, Any]:
    await flow.run_async(store)
    return _kept(flow, names, store)


def _run(flow: Any, names: list[str], /, **store: Any) -> dict[str, Any]:
    flow.run(store)
    return _kept(flow, names, store)


def _kept(flow: Any, names: list[str], store: dict[str, Any]) -> dict[str, Any]:
    for name in names:
        if name not in store:
            raise MissingInput(f"{name_of(flow)} left no {name!r}{closest(name, store)}; there is {sorted(store)}")
    return {name: store[name] for name in names} if names else store


def _inside(value: Any, key: str) -> Any:
    """The value at one name of a dotted path; MISSING if there is none."""
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if isinstance(value, list | tuple) and key.isdecimal():
        return value[int(key)] if int(key) < len(value) else MISSING
    return getattr(value, key, MISSING) if value is not MISSING else MISSING


def _missing(node: Task, parameter: str, there: Iterable[str]) -> MissingInput:
    key = node.keys.get(parameter, parameter)
    return MissingInput(f"{node.name} needs {key!r}{closest(key, there)}; there is {sorted(map(str, there))}")


# Resources


class _Resource:
    """What a factory made, in a task of its own, as the task that opens a connection may have to close it."""

    def __init__(self, name: str, factory: Callable[..., Any]) -> None:
        self.name, self.factory, self.closing = name, factory, asyncio.Event()
        self.instance: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.keeper = asyncio.create_task(self.keep())

    async def keep(self) -> None:
        try:
            async with _made(self.factory) as instance:
                self.instance.set_result(instance)
                await self.closing.wait()
        except Exception as error:
            _note(error, f"raised by the factory of the resource {self.name!r}")
            if self.instance.done():
                raise
            self.instance.set_exception(error)
            self.instance.exception()  # seen: whoever asked for it may be gone
        finally:
            self.instance.cancel()  # nobody waits for what is not made any more

    async def close(self) -> None:
        """Clean up; a factory that hangs is cancelled."""
        self.closing.set()
        if not self.instance.done():
            self.keeper.cancel()
        await asyncio.wait([self.keeper])


class _Resources:
    """The resources, each made once, on first use; they are closed in reverse order."""

    def __init__(self, factories: Mapping[str, Callable[..., Any]]) -> None:
        self.factories, self.made = factories, dict[str, _Resource]()

    async def get(self, name: str) -> Any:
        if name not in self.made:
            self.made[name] = _Resource(name, self.factories[name])
        return await asyncio.shield(self.made[name].instance)

    async def close(self) -> None:
        """Close all, also while we are being cancelled. Raises: the first error of a clean-up."""
        keepers = [resource.keeper for resource in self.made.values()]
        if self.made:
            await ended(asyncio.ensure_future(self._close()))
        for keeper in keepers:
            if not keeper.cancelled():
                keeper.result()

    async def _close(self) -> None:
        while self.made:
            _, resource = self.made.popitem()
            await resource.close()


@contextlib.asynccontextmanager
async def _made(factory: Any) -> AsyncIterator[Any]:
    if inspect.isasyncgenfunction(factory):
        async with contextlib.asynccontextmanager(factory)() as instance:
            yield instance
    elif inspect.isgeneratorfunction(factory):
        with contextlib.contextmanager(factory)() as instance:
            yield instance
    else:
        instance = factory()
        yield await instance if inspect.isawaitable(instance) else instance


# Dataflows


class Result(Mapping[str, Any]):
    """The final values by name; reading one that failed raises its error.

    done: the tasks that ran, in the order in which they ended.
    errors: name of a task -> its exception, with `on_error="collect"`.
    skipped: the tasks that did not run, as a task that they need failed.
    duration, durations: seconds that the run and each of its tasks took, without waiting.
    run_id: different for each run. resource_access: name -> how often a task got it.
    """

    def __init__(self) -> None:
        self.done, self.skipped = list[str](), list[str]()
        self.errors, self.durations = dict[str, Exception](), dict[str, float]()
        self.duration, self.run_id, self.resource_access = 0.0, uuid.uuid4().hex, dict[str, int]()
        self._values, self._failed = dict[str, Any](), dict[str, Exception]()  # both by name of a value

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

    def as_dict(self) -> dict[str, Any]:
        """The result as data for JSON: what JSON lacks becomes its repr, and a value that failed becomes None."""
        errors = {
            name: {"error": repr(error), "notes": list(getattr(error, "__notes__", []))}
            for name, error in self.errors.items()
        }
        values = {name: None if name in self._failed else plain(value) for name, value in self._values.items()}
        told = ("done", "skipped", "duration", "durations", "run_id", "resource_access")
        return {"values": values, "errors": errors, **{name: plain(getattr(self, name)) for name in told}}


class Dataflow(AsyncFlow):
    """Runs functions as soon as their inputs are there; a program of its own, or a node of a flow.

    sources: functions, tasks, flows, modules, or names of modules. The tasks of a module are the
        public functions and tasks that it defines. If two have the same name, the later one wins. A
        flow is a task with a store of its own; if it is a dataflow, its outputs are those of the task.
    final_vars: the names of the values that are wanted; None means all. Only what they need runs.
    max_concurrency: how many tasks run at once at most, and how many elements of a task with `each`;
        also the number of threads for sync functions. None means no limit, and 32 threads.
    executor: where sync functions run, as for an `ExecutorNode`; None means threads of the run's own.
    resources: parameter -> factory of the one instance that all tasks share, made on first use: a
        plain or async callable, or a generator function that cleans up after its one `yield`.
        Clean-up runs in reverse order at the end of a run, or of `async with dataflow:`.
    on_error: "raise" the first error, after all other tasks have been cancelled and awaited; or
        "collect" errors, and run all that does not depend on what failed.
    base_dir: the folder in which modules given by name are looked for first; None: import only.

    As a node it reads its inputs from `shared`, and leaves its final values there.

    Raises: before anything runs, `ValueError` for a cycle or for two tasks that store one name,
        `MissingInput` for a missing input or final value, `ImportError` with all names that were tried.
    """

    def __init__(
        self,
        *sources: Any,
        final_vars: Iterable[str] | None = None,
        max_concurrency: int | None = None,
        executor: MakesExecutor | Pool = None,
        resources: Mapping[str, Callable[..., Any]] | None = None,
        on_error: str = "raise",
        base_dir: str | Path | None = None,
    ) -> None:
        if on_error not in ("raise", "collect"):
            raise ValueError(f'on_error={on_error!r}: write "raise" or "collect"')
        if max_concurrency is not None and max_concurrency < 1:
            raise ValueError(f"{type(self).__name__}: max_concurrency must be at least 1, not {max_concurrency!r}")
        super().__init__()
        self.max_concurrency, self.executor, self.on_error = max_concurrency, executor, on_error
        self.factories = dict(resources or {})
        self.final_vars = _names(final_vars)
        self.sources = [module_named(source, base_dir) if isinstance(source, str) else source for source in sources]
        self._plan = _Plan(_tasks(self.sources), self.factories, self.final_vars)
        self._resources: _Resources | None = None  # those that `async with` keeps open
        self._result: Result | None = None  # where `execute` wants to have what comes of its run

    @property
    def tasks(self) -> dict[str, Task]:
        """Each `Task` by name. Its place in this order is the index of its step."""
        return self._plan.tasks

    @property
    def edges(self) -> dict[str, list[str]]:
        """Name of a task -> the names of those whose results it uses."""
        return self._plan.edges

    @property
    def order(self) -> list[str]:
        """The names of the tasks that run, inputs before their users."""
        return self._plan.order

    @property
    def inputs(self) -> dict[str, Input]:
        """By key, what the tasks that run read, but none of them makes."""
        return self._plan.inputs

    @property
    def outputs(self) -> list[str]:
        """The names of the final values."""
        return self._plan.outputs

    def execute(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        final_vars: Iterable[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        reload: bool = False,
    ) -> Result:
        """Run on a copy of `inputs`, and return the `Result`.

        final_vars: used in place of those of the dataflow.
        overrides: name -> value that replaces the result of a task, which then does not run.
        reload: read the source of each module again first.
        Raises: `RuntimeError` inside a running event loop.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # and not here, or every error of the run would have this one as its context
        else:
            raise RuntimeError("execute() inside a running event loop: write await dataflow.execute_async(...)")
        return asyncio.run(self.execute_async(inputs, final_vars=final_vars, overrides=overrides, reload=reload))

    async def execute_async(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        final_vars: Iterable[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        reload: bool = False,
    ) -> Result:
        """What `execute` does, inside an event loop."""
        if reload:
            self._reload()
        flow, plan = copy.copy(self), self._plan
        if final_vars is not None or overrides:
            wanted = self.final_vars if final_vars is None else _names(final_vars)
            flow._plan = plan = _Plan(self.tasks, self.factories, wanted, overrides)
        shared = dict(inputs or {})
        for name in shared:
            if name in plan.makers:
                raise ValueError(f"the input {name!r} is also stored by the task {plan.makers[name]}: write overrides=")
        shared.update(overrides or {})
        flow._result = result = Result()
        started = time.perf_counter()
        await flow.run_async(shared)
        result.duration = time.perf_counter() - started
        result._values = {name: shared.get(name) for name in plan.outputs}
        return result

    def _reload(self) -> None:
        for source in self.sources:
            if isinstance(source, types.ModuleType):
                read_again(source)
        self._plan = _Plan(_tasks(self.sources), self.factories, self.final_vars)

    async def __aenter__(self) -> Self:
        self._resources = _Resources(self.factories)
        return self

    async def __aexit__(self, *_: object) -> None:
        resources, self._resources = self._resources, None
        if resources is not None:
            await resources.close()

    async def prep_async(self, shared: Any) -> Any:
        """Raise an error for what is missing, or would be overwritten, before anything runs."""
        there = {*shared, *self.params}
        for key, given in self.inputs.items():
            if given.is_required and key not in there:
                raise self._plan.missing(key, there)
        for name in self._plan.intermediate:
            if name in shared:
                raise ValueError(f"{self._plan.makers[name]} would overwrite shared[{name!r}]: rename one")

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Leave the final values in `shared`, and no intermediate results."""
        for name in self._plan.intermediate:
            shared.pop(name, None)

    async def _orch_async(self, shared: Any, params: dict[str, Any] | None = None) -> None:
        run = _Run(self, shared, params or {**self.params})
        try:
            await run.all()
        finally:
            await run.close()


class _Run:
    """One run of a dataflow: a few workers. A worker whose task ended goes on with one that is now ready.

    waiting: task -> how many of its inputs are missing. ready: tasks that wait for a worker.
    active: how many workers there are. stopped: errors that end the run; the first is raised.
    """

    def __init__(self, flow: Dataflow, shared: Any, params: dict[str, Any]) -> None:
        self.flow, self.plan, self.shared, self.params = flow, flow._plan, shared, params
        self.watch = watcher.get()
        self.result = Result() if flow._result is None else flow._result
        self.result.resource_access = dict.fromkeys(flow.factories, 0)
        self.resources = flow._resources or _Resources(flow.factories)
        self.limit, self.create_task = flow.max_concurrency, asyncio.get_running_loop().create_task
        given = flow.executor
        self.pool = given if isinstance(given, Pool) else Pool(given, self.limit or THREADS)
        self.waiting = {name: len(others) for name, others in self.plan.waits_for.items() if others}
        self.ready = deque(name for name in self.plan.order if name not in self.waiting)
        self.active, self.workers, self.over = 0, list[asyncio.Task[None]](), asyncio.Event()
        self.stopped: list[BaseException] = []

    async def all(self) -> None:
        caller = asyncio.current_task()
        assert caller, "a coroutine is run by a task"
        cancels = caller.cancelling()
        try:
            self.spawn()
            if self.active:
                await self.over.wait()
        except asyncio.CancelledError as error:
            self.stop(error)
        while pending := [worker for worker in self.workers if not worker.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                self.stop(error)
        if self.stopped:
            raise self.stopped[0] if caller.cancelling() == cancels else asyncio.CancelledError

    def spawn(self) -> None:
        """Start a worker for each task that is ready, up to the limit."""
        while self.ready and not self.stopped and (self.limit is None or self.active < self.limit):
            self.active += 1
            self.workers.append(self.create_task(self.work(self.ready.popleft())))

    async def work(self, name: str) -> None:
        """Run a task, and then one that is ready, until none is."""
        try:
            while True:
                await self.visit(name)
                for user in self.plan.users[name]:
                    self.waiting[user] -= 1
                    if not self.waiting[user]:
                        self.ready.append(user)
                if self.stopped or not self.ready:
                    break
                name = self.ready.popleft()
                self.spawn()
        except BaseException as error:
            self.stop(error)
        self.active -= 1
        if not self.active:
            self.over.set()

    def stop(self, error: BaseException) -> None:
        """Cancel what runs, but only once, as it may be cleaning up; after a pause, let it finish."""
        ends = (Exception, asyncio.CancelledError)
        if isinstance(error, ends) and not any(isinstance(before, ends) for before in self.stopped):
            for worker in self.workers:
                worker.cancel()
        self.stopped.append(error)
        self.over.set()

    async def visit(self, name: str) -> None:
        """Run a task, or report what it lacks, and keep the outcome."""
        result, started = self.result, time.perf_counter()
        failed = [other for other in self.plan.waits_for[name] if other in result._failed] if result._failed else []
        if failed:
            result.skipped.append(name)
            return self.fail(name, result._failed[failed[0]])
        try:
            if self.watch:
                place = self.plan.places[name]
                await self.watch.do_async("branch", self.flow, self.run_task, name, index=place)
            else:
                await self.run_task(name)
            result.done.append(name)
        except Exception as error:
            _note(error, f"in {name}")
            if self.flow.on_error == "raise":
                raise
            _note(error, f"in {name_of(self.flow)}")
            result.errors[name] = error
            self.fail(name, error)
        finally:
            result.durations[name] = time.perf_counter() - started

    def fail(self, name: str, error: Exception) -> None:
        """Keep the error in place of the values that the task would have stored."""
        self.result._failed.update(dict.fromkeys([name, *self.plan.tasks[name].outputs], error))

    async def run_task(self, name: str) -> Any:
        node, params = copy.copy(self.plan.tasks[name]), self.params
        for key in dict.fromkeys(node.needs.values()) if self.flow.factories else ():
            if key in self.flow.factories:
                params = {**params, key: await self.resources.get(key)}
                self.result.resource_access[key] += 1
        node.set_params(params)
        node.executor = node.executor or self.pool
        if self.limit and node.each:
            node.max_concurrency = self.limit  # type: ignore[attr-defined]  # a task with `each` is a batch
        run = node._run_async
        return await (
            run(self.shared) if not (watch := watcher.get()) else watch.do_async("visit", node, run, self.shared)
        )

    async def close(self) -> None:
        try:
            if self.pool is not self.flow.executor:
                await self.pool.close()
        finally:
            if self.flow._resources is None:
                await self.resources.close()


def _note(error: Exception, text: str) -> None:
    with contextlib.suppress(AttributeError, TypeError):  # an exception may be frozen, or have other notes
        error.add_note(text)


# What a dataflow is made of


class _Plan:
    """What has to run for the values that are wanted, and what waits for what.

    final_vars: None means all. overrides: values that are given in place of results.

    tasks, edges, order, inputs, outputs: as in `Dataflow`. makers: name of a value -> the task
    that stores it. places: task -> its index. intermediate: what is stored but not wanted.
    waits_for: task that runs -> those that run before it; users: the other way round.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        factories: Collection[str],
        final_vars: list[str] | None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.tasks, self.factories, self.overrides = tasks, factories, overrides or {}
        self.places = {name: place for place, name in enumerate(tasks)}
        self.makers = makers = _makers(tasks)
        self.edges = {
            node.name: [makers[key] for key in dict.fromkeys(node.needs.values()) if key in makers]
            for node in tasks.values()
        }
        self.outputs = list(makers) if final_vars is None else final_vars
        for name in (*self.outputs, *self.overrides):
            if name not in makers:
                raise MissingInput(f"no task stores {name!r}{closest(name, makers)}; there is {sorted(makers)}")
        self.order = self._order()
        self._schedule()
        self.inputs = self._inputs()

    def _order(self) -> list[str]:
        """The tasks that run, inputs before their users."""
        try:
            order = list(graphlib.TopologicalSorter(self.edges).static_order())
        except graphlib.CycleError as error:
            raise ValueError(f"a cycle: {' <- '.join(error.args[1])}") from None
        given = self._overridden()
        needed = {self.makers[name] for name in self.outputs} - given
        for name in reversed(order):
            if name in needed:
                needed.update(set(self.edges[name]) - given)
        return [name for name in order if name in needed]

    def _overridden(self) -> set[str]:
        """The tasks that do not run, because everything they store is given."""
        names = {self.makers[name] for name in self.overrides}
        for node in map(self.tasks.__getitem__, names):
            if left := [name for name in node.outputs if name not in self.overrides]:
                raise ValueError(f"overrides: {node.name} stores {left} too; override all of its names or none")
        return names

    def _schedule(self) -> None:
        running, wanted = set(self.order), set(self.outputs)
        self.waits_for = {name: [other for other in self.edges[name] if other in running] for name in self.order}
        self.users: dict[str, list[str]] = {name: [] for name in self.order}
        for name in self.order:
            for other in self.waits_for[name]:
                self.users[other].append(name)
        stored = (output for name in self.order for output in self.tasks[name].outputs)
        self.intermediate = [output for output in stored if output not in wanted]

    def _inputs(self) -> dict[str, Input]:
        """What no task makes, as its first reader describes it; a reader that requires it comes first."""
        inputs: dict[str, Input] = {}
        for node, parameter, key in self._readers():
            if key not in self.makers and key not in self.factories:
                given = _input(node, parameter)
                if key not in inputs or (given.is_required and not inputs[key].is_required):
                    inputs[key] = given
        return inputs

    def _readers(self) -> Iterator[tuple[Task, str, str]]:
        """Each task that runs, with each of its parameters and the key that it is read from."""
        for name in self.order:
            node = self.tasks[name]
            yield from ((node, parameter, key) for parameter, key in node.needs.items())

    def missing(self, missing: str, there: set[str]) -> MissingInput:
        """The error of the first task that reads a missing key."""
        there = {*there, *self.factories, *self.makers}
        return next(_missing(node, parameter, there) for node, parameter, key in self._readers() if key == missing)


def _tasks(sources: Iterable[Any]) -> dict[str, Task]:
    """The tasks of all sources by name, in the order in which they are defined."""
    found: dict[str, Task] = {}
    flows: dict[str, Flow] = {}
    for source in sources:
        for node in _tasks_of(source):
            if isinstance(source, Flow) and flows.setdefault(node.name, source) is not source:
                raise ValueError(f"two flows are named {node.name!r}: write task(flow, name=...)")
            found[node.name] = node
    return found


def _tasks_of(source: Any) -> list[Task]:
    if isinstance(source, Task):
        return [source]
    if isinstance(source, Flow):
        return [task(source, returns=source.outputs if isinstance(source, Dataflow) else None)]
    if isinstance(source, types.ModuleType):
        return [found if isinstance(found, Task) else task(found) for found in functions_of(source).values()]
    if inspect.isfunction(source):
        return [task(source)]
    raise TypeError(f"{source!r} is not a source: write a function, a task, a flow, a module, or the name of one")


def _makers(tasks: Mapping[str, Task]) -> dict[str, str]:
    """Name of a value -> the task that stores it."""
    makers: dict[str, str] = {}
    for node in tasks.values():
        for output in node.outputs:
            if output in makers:
                raise ValueError(f"{makers[output]} and {node.name} both store {output!r}: rename one")
            makers[output] = node.name
    return makers


def _input(node: Task, parameter: str) -> Input:
    """What a task reads, as those who provide it see it."""
    annotation, default = node.parameters[parameter]
    if "." in node.keys.get(parameter, ""):
        return Input(Any, default)  # nothing says of what it is a part
    return Input(types.GenericAlias(list, annotation) if parameter in node.each else annotation, default)
