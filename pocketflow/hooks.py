"""What a run reports while it runs: its steps, the hooks that see them, and `emit`.

    >>> from pocketflow import Flow, Node
    >>> class Greet(Node):
    ...     def exec(self, prep_res):
    ...         emit({"type": "status", "text": "greeting"})
    >>> class Print(Hook):
    ...     def on_start(self, step):
    ...         print("start", step.path)
    ...     def on_event(self, step, event):
    ...         print("event", step.path, event["text"])
    >>> with Print():
    ...     Flow(Greet()).run({})
    start Flow
    start Flow/prep
    start Flow/0:Greet
    start Flow/0:Greet/prep
    start Flow/0:Greet/exec
    event Flow/0:Greet/exec greeting

A hook sees all that runs inside its block: nested flows, tasks, and threads that run in a copy
of the context, as those of `asyncio.to_thread` do. Without a hook, no steps are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Self

from pocketflow import AsyncNode, BatchNode, Flow, name_of, watcher

__all__ = ["Hook", "Log", "Skip", "Step", "called", "emit", "ended", "escaped", "hooked"]


class Step:
    """One unit of work, as hooks see it.

    kind: "flow" or "node" for a visit, "prep" for its prep, "exec" for the exec of one item, with
        all of its attempts; an entry of a batch flow and a parallel branch are a "flow".
    node, name: whose work it is; the name is its `name` attribute if that is a string, else that of its class.
    parent: the step that this one runs inside; None for the outermost.
    index: of the item, entry or branch; None elsewhere.
    shared: the store; None in an exec step.
    input: the item or prep result of an exec step, the params of a batch entry; None elsewhere.
    attempt: of an exec step, from 0.
    skipped: whether the `Skip` of a hook replaced the work.
    loop: the event loop on which an awaitable that a hook returns is awaited; None where the work
        is not awaited: in the prep and exec of a sync node, and in all of a sync flow.
    path: its place in the run, which is the same when the run is resumed:

        NAME             the outermost flow or node
        PARENT/N:NAME    the N-th visit of one orchestration, from 0
        PARENT[I]        the I-th entry of a batch flow, or branch
        PARENT/prep      the prep of a visit
        PARENT/exec      the exec of a node
        PARENT/exec[I]   the exec of the I-th item of a batch
        PARENT/~N:NAME   the N-th flow or node that user code runs inside a step

        In a path, each of `/ [ ] : ~ %` in a name becomes % and two hexadecimal digits.
    """

    def __init__(self, role: str, node: Any, args: tuple[Any, ...], index: int | None, parent: Step | None) -> None:
        """role, node, args, index: as `pocketflow.watcher` gets them."""
        self.node, self.name, self.parent, self.index = node, name_of(node), parent, index
        self.shared: Any = None
        self.input: Any = None
        self.attempt, self.skipped = 0, False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._visits = self._runs = self._execs = 0  # how many have begun inside this one
        if role in ("prep", "exec"):
            self.kind = role
        else:
            self.kind = "flow" if isinstance(node, Flow) else "node"
        if role == "exec":
            self.input = args[0]
        elif role in ("entry", "branch"):
            self.shared = parent.shared if parent else None
            self.input = {**node.params, **args[0]} if isinstance(args[0], Mapping) else None
        else:
            self.shared = args[0]
        self.path = self._path(role)

    def _path(self, role: str) -> str:
        outer, name = self.parent, self.name
        if not name.isidentifier():
            name = escaped(name)
        if outer is None:
            return name if role in ("visit", "run") else f"{name}/{role}"
        if role == "visit":
            outer._visits += 1
            return f"{outer.path}/{outer._visits - 1}:{name}"
        if role == "run":
            outer._runs += 1
            return f"{outer.path}/~{outer._runs - 1}:{name}"
        if role == "exec" and self.index is None and (outer._execs or isinstance(self.node, BatchNode)):
            self.index = outer._execs  # of an own `_exec` that goes through the items itself
        outer._execs += role == "exec"
        item = "" if self.index is None else f"[{self.index}]"
        return f"{outer.path}{item}" if role in ("entry", "branch") else f"{outer.path}/{role}{item}"

    def __repr__(self) -> str:
        return f"Step({self.path!r}, kind={self.kind!r})"


_ESCAPES = {ord(char): f"%{ord(char):02X}" for char in "/[]:~%"}


def escaped(name: str) -> str:
    """A name as it is written in a path."""
    return name.translate(_ESCAPES)


class Skip:
    """Return this from `Hook.on_start` to skip the work; `result` is used in place of what it would return."""

    def __init__(self, result: Any = None) -> None:
        self.result = result


class Hook:
    """Sees each step that runs inside `with hook:`. Override what you need.

    A hook whose `on_start` returned gets exactly one `on_end` or `on_error`. Inner hooks are called
    after the outer ones at a start, and before them at an end or error; a hook that is entered twice
    is called once. It is called in the thread that does the work. An exception that it raises fails the
    step, with a note that names the hook; one that `emit` raises inside an exec is retried like any other.

    Where `step.loop` is set, each method may return an awaitable, and the run waits for it.
    """

    def __enter__(self) -> Self:
        _install(self)
        return self

    def __exit__(self, *_: object) -> None:
        _remove(self)

    def on_start(self, step: Step) -> Any:
        """`step` begins. Return `Skip(result)` to skip it; the first Skip wins."""

    def on_event(self, step: Step, event: dict[str, Any]) -> Any:
        """`event` was emitted inside `step`. It is the emitted dict itself, so a hook may answer by writing into it."""

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> Any:
        """Attempt number `attempt`, from 0, failed; the next begins in `wait` seconds."""

    def on_end(self, step: Step, result: Any) -> Any:
        """`step` is done; `result` is the action of a visit, and what prep or exec returned."""

    def on_error(self, step: Step, error: BaseException) -> Any:
        """`step` failed for good, or was cancelled (`asyncio.CancelledError`)."""


class hooked:
    """`with hooked(a, b):` installs several hooks, as `with a, b:` does."""

    def __init__(self, *hooks: Hook) -> None:
        for hook in hooks:
            if not isinstance(hook, Hook):
                raise TypeError(f"hooked({hook!r}): write an instance of Hook")
        self.hooks = hooks

    def __enter__(self) -> None:
        for hook in self.hooks:
            _install(hook)

    def __exit__(self, *_: object) -> None:
        for hook in reversed(self.hooks):
            _remove(hook)


def emit(event: dict[str, Any]) -> Awaitable[None]:
    """Send an event, a dict with a "type", from inside a node to the hooks; without a hook, do nothing.

    In an async node, `await emit(event)` waits for hooks that hold the run back. A thread waits
    without `await`. Where nothing can wait, as in a sync node on the event loop, the run goes on.
    """
    if not isinstance(event, dict) or "type" not in event:
        raise TypeError(f'emit({event!r}): write a dict with a "type"')
    watch = watcher.get()
    return (watch.tell("on_event", event) if watch else None) or _NOTHING


class _Hooks:
    """What `pocketflow.watcher` holds while hooks are installed: it makes a step of each unit of work, and calls them.

    installed: the hooks in order, each once for each block that it was entered with; hooks: each once.
    step: the current one; None outside of a run.
    """

    def __init__(self, installed: tuple[Hook, ...], hooks: list[Hook], step: Step | None) -> None:
        self.installed, self.hooks, self.step = installed, hooks, step
        self.executing = step.node if step and step.kind == "exec" else None

    def do(self, role: str, node: Any, work: Callable[..., Any], *args: Any, index: int | None = None) -> Any:
        step = Step(role, node, args, index, self.step)
        result: Any = None
        told: list[Hook] = []
        try:
            for hook in self.hooks:
                answer = _call(hook.on_start, step)
                told.append(hook)
                if isinstance(answer, Skip) and not step.skipped:
                    step.skipped, result = True, answer.result
            if not step.skipped:
                watcher.set(_Hooks(self.installed, self.hooks, step))
                result = work(*args)
                watcher.set(self)
            while told:
                _call(told.pop().on_end, step, result)
        except BaseException as error:
            watcher.set(self)
            failure = error
            while told:
                try:
                    _call(told.pop().on_error, step, failure)
                except BaseException as raised:
                    failure = raised
            if failure is error:
                raise
            raise failure  # noqa: B904  # its context is the error that it replaces
        return result

    async def do_async(
        self, role: str, node: Any, work: Callable[..., Any], *args: Any, index: int | None = None
    ) -> Any:
        step = Step(role, node, args, index, self.step)
        step.loop = asyncio.get_running_loop()
        result: Any = None
        told: list[Hook] = []
        try:
            for hook in self.hooks:
                answer = await _call_async(hook.on_start, step)
                told.append(hook)
                if isinstance(answer, Skip) and not step.skipped:
                    step.skipped, result = True, answer.result
            if not step.skipped:
                watcher.set(_Hooks(self.installed, self.hooks, step))
                result = work(*args)
                if role != "visit" or isinstance(node, AsyncNode):
                    result = await result
                watcher.set(self)
            while told:
                await _call_async(told.pop().on_end, step, result)
        except BaseException as error:
            watcher.set(self)
            failure = error
            while told:
                try:
                    await _call_async(told.pop().on_error, step, failure)
                except BaseException as raised:
                    failure = raised
            if failure is error:
                raise
            raise failure  # noqa: B904  # its context is the error that it replaces
        return result

    def tell(self, method: str, *args: Any) -> _Held | None:
        """Call a method of each hook for the current step, and return what there is to wait for."""
        step = self.step
        if step is None:
            return None
        held: list[tuple[Callable[..., Any], Any]] = []
        for hook in self.hooks:
            call = getattr(hook, method)
            answer = _ask(call, step, *args)
            if answer is not None and inspect.isawaitable(answer):
                held.append((call, answer))
        if method == "on_retry":
            step.attempt += 1
        return _wait(step, held) if held else None


def _wait(step: Step, held: list[tuple[Callable[..., Any], Any]]) -> _Held | None:
    """What hooks returned, for the caller to await; a thread waits for it here."""
    if step.loop is None:
        raise _unawaited(step, *held[0])
    if step.loop is asyncio._get_running_loop():
        # Begun at once, so that a hook is called even if `emit` is not awaited.
        return _Held([(call, asyncio.ensure_future(it) if inspect.iscoroutine(it) else it) for call, it in held])
    waiting = asyncio.run_coroutine_threadsafe(_wait_for(_Held(held)), step.loop)
    if isinstance(step.node, AsyncNode):  # a sync node blocks the loop, maybe to wait for this very thread
        waiting.result()
    return None


class _Held:
    """The awaitables of hooks, awaited one after the other; an error gets a note with the name of its hook."""

    def __init__(self, answers: list[tuple[Callable[..., Any], Any]]) -> None:
        self.answers = answers

    def __await__(self) -> Generator[Any, None, None]:
        for method, answer in self.answers:
            try:
                yield from answer.__await__()
            except Exception as error:
                _blame(error, method)
                raise


_NOTHING = _Held([])


async def _wait_for(held: _Held) -> None:
    await held


def _ask(method: Callable[..., Any], *args: Any) -> Any:
    """What a method of a hook returns; its error gets a note with its name."""
    try:
        return method(*args)
    except Exception as error:
        _blame(error, method)
        raise


def _call(method: Callable[..., Any], step: Step, *args: Any) -> Any:
    answer = _ask(method, step, *args)
    if answer is not None and inspect.isawaitable(answer):
        raise _unawaited(step, method, answer)
    return answer


def _unawaited(step: Step, method: Callable[..., Any], answer: Any) -> TypeError:
    if inspect.iscoroutine(answer):
        answer.close()
    advice = "return one where step.loop is set, and None elsewhere"
    return TypeError(f"{_title(method)} returned an awaitable for {step.path}, where nothing awaits it: {advice}")


async def _call_async(method: Callable[..., Any], step: Step, *args: Any) -> Any:
    answer = _ask(method, step, *args)
    if answer is not None and inspect.isawaitable(answer):
        try:
            return await answer
        except Exception as error:
            _blame(error, method)
            raise
    return answer


def _blame(error: Exception, method: Callable[..., Any]) -> None:
    with contextlib.suppress(AttributeError, TypeError):  # an exception may be frozen, or have other notes
        error.add_note(f"raised by the hook {_title(method)}")


def _title(method: Callable[..., Any]) -> str:
    return getattr(method, "__qualname__", None) or repr(method)


def _install(hook: Hook) -> None:
    now = watcher.get()
    installed, step = (now.installed, now.step) if isinstance(now, _Hooks) else ((), None)
    watcher.set(_Hooks((*installed, hook), _each_once((*installed, hook)), step))


def _remove(hook: Hook) -> None:
    """End the latest block of the hook in this context."""
    now = watcher.get()
    if isinstance(now, _Hooks):
        last = max((n for n, other in enumerate(now.installed) if other is hook), default=None)
        left = tuple(other for n, other in enumerate(now.installed) if n != last)
        watcher.set(_Hooks(left, _each_once(left), now.step) if left or now.step else None)


def _each_once(hooks: tuple[Hook, ...]) -> list[Hook]:
    """By identity, as a hook may be a dataclass, which cannot be hashed."""
    return [hook for n, hook in enumerate(hooks) if not any(hook is other for other in hooks[:n])]


class Log(Hook):
    """Logs starts and ends at `level`, retries as warnings, and errors as errors, each with the path of its step.

    logger: a `logging.Logger`; None means the one named "pocketflow". Python shows only warnings and
        errors by default; call `logging.basicConfig(level=logging.INFO)` to see the rest.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.INFO) -> None:
        self.logger, self.level = logger or logging.getLogger("pocketflow"), level

    def on_start(self, step: Step) -> None:
        self.logger.log(self.level, "start %s", step.path)

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        self.logger.warning("retry %s in %g s: attempt %d failed with %r", step.path, wait, attempt + 1, error)

    def on_end(self, step: Step, result: Any) -> None:
        action = f" -> {result!r}" if step.kind in ("node", "flow") and result is not None else ""
        self.logger.log(self.level, "%s %s%s", "skip" if step.skipped else "end", step.path, action)

    def on_error(self, step: Step, error: BaseException) -> None:
        level = logging.ERROR if isinstance(error, Exception) else self.level
        self.logger.log(level, "fail %s: %r", step.path, error)


def called(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a thread that asyncio waits for, and return what it returns.

    A StopIteration, for which asyncio would wait for ever, becomes a RuntimeError, as it does in a coroutine.
    """
    try:
        return function(*args)
    except StopIteration as error:
        raise RuntimeError(f"{_title(function)} raised StopIteration") from error


async def ended(future: asyncio.Future[Any]) -> None:
    """Wait until a future is done, whatever its outcome, even while we are being cancelled."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()  # seen, so that asyncio does not report it as lost
    if cancelled:
        raise cancelled
