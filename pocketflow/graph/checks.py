"""What would go wrong in a flow, found without running any of it."""

from __future__ import annotations

import abc
import difflib
import inspect
import json
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow, BaseNode, Flow, name_of
from pocketflow.graph.shape import Graph, GraphNode, successors

CORE = BaseNode.__module__
PHASES = {"prep": 1, "exec": 1, "post": 3, "exec_fallback": 2}  # how many values each is called with


def check(flow: Any) -> list[str]:
    """What would go wrong in a flow, and in those inside it; each line says what to write. Nothing is run.

    It finds what the core would raise later: a node without `super().__init__()`, a flow without a
    start, an async node in a sync flow, a plain `def prep_async`, settings out of range.

    It also finds mistakes that the core cannot notice: a phase that is never called, because it
    belongs to the other kind of node (`exec` in an AsyncNode) or is misspelt (`prepare`, if there is
    no `prep`); an edge that was begun but not ended (`node - "x"`); a start that is not the first
    node of its chain (`Flow(a >> b)`); and a task of a dataflow whose annotated result cannot be
    what another task takes. If `post` is annotated with its actions, as in
    `-> Literal["search", "answer"]` or `-> Literal["again"] | None`, it finds actions without an
    edge, and edges that no action takes. A node without edges may return anything, as it ends its flow.
    """
    graph = Graph(flow)
    findings: list[str] = []
    for place in graph.nodes:
        if place.node is None:  # an input
            continue
        if not hasattr(place.node, "successors") and _is_ours(place.node):
            findings.append(f"{place.name} is not set up: begin its __init__ with super().__init__()")
            continue
        around = graph[place.parent].node if place.parent else None
        findings += [*_in_flow(place, around), *_phases(place.node), *_settings(place.node), *_edges(place.node)]
        if place.kind == "dataflow":
            findings += _misfits(place.node)
    findings += _late_starts(graph)
    return list(dict.fromkeys(findings))


def _is_ours(node: Any) -> bool:
    """Whether the class of a node is one of ours; a mock only pretends to be."""
    return issubclass(type(node), BaseNode)


# Nodes in flows


def _in_flow(place: GraphNode, around: Any) -> Iterator[str]:
    node, name = place.node, place.name
    if _is_ours(node) and isinstance(node, Flow) and not _has_start(node) and not _orchestrates_itself(node):
        made = type(node).__name__
        if isinstance(node, AsyncParallelFlow):
            yield f"{name} has no branches: write {made}(node, ...)"
        else:
            yield f"{name} has no start: write {made}(start=node)"
    if _is_ours(around) and not isinstance(around, AsyncFlow) and _needs_async_flow(node):
        yield f"{name} is async, {name_of(around)} is not: make it an Async{_class_of_ours(around)}"


def _has_start(flow: Flow) -> bool:
    return bool(getattr(flow, "branches", ())) or getattr(flow, "start_node", None) is not None


def _orchestrates_itself(flow: Flow) -> bool:
    """Whether a flow has code of its own that may give it a start when it runs, or run without one."""
    methods = ("prep", "prep_async", "_run", "_run_async", "_orch", "_orch_async")
    return any(not _is_of_core(flow, method) for method in methods if hasattr(type(flow), method))


def _needs_async_flow(node: Any) -> bool:
    """Whether a node refuses to run in a sync flow; an async one that writes `_run` as well does not."""
    return isinstance(node, AsyncNode) and getattr(node._run, "__func__", None) is AsyncNode._run


def _class_of_ours(node: Any) -> str:
    return next(cls.__name__ for cls in type(node).__mro__ if cls.__module__ == CORE)


def _late_starts(graph: Graph) -> Iterator[str]:
    """Mistakes such as `Flow(a >> b)`, which begins at b, as that is the value of `a >> b`."""
    reached = {id(target) for place in graph.nodes for _, target in successors(place.node)}
    for place in graph.nodes:
        if place.is_start and _is_ours(place.node) and place.node.is_led_to and id(place.node) not in reached:
            flow = graph[place.parent].name if place.parent else ""
            advice = f"write first >> {place.name} on a line of its own, then {flow}(first)"
            yield f"{flow} starts at {place.name}, to which an edge leads from a node outside of it: {advice}"


# Phases


def _phases(node: Any) -> Iterator[str]:
    """Methods that look like phases, but are never called."""
    if not _runs_like_the_core(node):
        return
    name, is_async = name_of(node), isinstance(node, AsyncNode)
    for phase in PHASES:
        other = phase if is_async else f"{phase}_async"
        if is_async and phase == "exec" and isinstance(node, Flow):
            continue
        mine = f"{phase}_async" if is_async else phase
        if _is_written(node, other) and not _is_written(node, mine):
            advice = f"name it {mine}" if is_async else f"derive {type(node).__name__} from AsyncNode"
            yield f"{name}.{other} is never called: {advice}"
        if is_async and phase != "exec" and _is_plain_def(node, mine):
            yield f"{name}.{mine} is a plain def: write `async def {mine}`"
        if not _is_written(node, mine) and (misspelt := _misspelt(node, mine, PHASES[phase])):
            yield f"{name}.{misspelt} is never called: did you mean {mine}?"


def _runs_like_the_core(node: Any) -> bool:
    """Whether the core calls the phases of a node; a class with its own `_run` or `_exec` may call anything."""
    methods = ("_run", "_run_async", "_exec", "run", "run_async")
    return _is_ours(node) and all(_is_of_core(node, name) for name in methods if hasattr(node, name))


def _is_of_core(node: Any, name: str) -> bool:
    return name not in vars(node) and getattr(getattr(type(node), name), "__module__", None) == CORE


def _is_written(node: Any, name: str) -> bool:
    """Whether there is such a method, other than that of the core."""
    return name in vars(node) or (hasattr(type(node), name) and not _is_of_core(node, name))


def _is_plain_def(node: Any, name: str) -> bool:
    """Whether a phase is a function that is not async; what wraps another, or says what it returns, may be one."""
    function = inspect.getattr_static(node, name, None)
    is_function = isinstance(function, types.FunctionType) and not hasattr(function, "__wrapped__")
    returns = str(getattr(function, "__annotations__", {}).get("return", ""))
    return is_function and not inspect.iscoroutinefunction(function) and "Awaitable" not in returns


def _misspelt(node: Any, phase: str, values: int) -> str | None:
    """A method that was probably meant as a phase: a similar name, as many parameters, and used by no other method."""
    written = [(name, value) for cls in _users_classes(node) for name, value in vars(cls).items()]
    functions = {name: value for name, value in written if isinstance(value, types.FunctionType)}
    used = {name for function in functions.values() for name in function.__code__.co_names}
    alike = {name for name, function in functions.items() if function.__code__.co_argcount == values + 1}
    unused = [
        name
        for name in sorted(alike - used)
        if not hasattr(BaseNode, name) and name.removesuffix("_async") not in PHASES
    ]
    return next(iter(difflib.get_close_matches(phase, unused, 1, cutoff=0.7)), None)


def _users_classes(node: Any) -> list[type]:
    package = f"{CORE}."
    return [cls for cls in type(node).__mro__ if cls is not object and not f"{cls.__module__}.".startswith(package)]


# Settings


def _settings(node: Any) -> Iterator[str]:
    """Numbers out of range, set where no constructor could see it."""
    for setting, least in (("max_retries", 1), ("wait", 0), ("max_concurrency", 1)):
        value = getattr(node, setting, None)
        if _is_ours(node) and isinstance(value, int | float) and not value >= least:
            yield f"{name_of(node)}: {setting} must be at least {least}, not {value!r}"


# Edges


def _edges(node: Any) -> Iterator[str]:
    """Edges that were begun but not ended, and those that disagree with the annotation of post."""
    name, edges = name_of(node), dict(successors(node))
    for action in dict.fromkeys(node.begun_edges if _is_ours(node) else ()):
        if (action or "default") not in edges:
            yield f"{name} - {_quoted(action)} leads nowhere: write {name} - {_quoted(action)} >> node"
    phase = "post_async" if isinstance(node, AsyncNode) else "post"
    actions = _annotated(getattr(node, phase, None))
    if actions is None or not edges:
        return
    for action in actions:
        if action not in edges:
            edge = f"{name}{_minus(action)} >> node"
            yield f"{name}.{phase} may return {_shown(action)}, for which there is no edge: write {edge}"
    for action, target in edges.items():
        if action not in actions:
            end = "None" if target is None else name_of(target)
            edge, only = f"{name}{_minus(action)} >> {end}", " or ".join(map(_shown, actions))
            yield f"{edge} is never taken: {phase} is annotated to return {only}"


def _annotated(post: Any) -> list[str] | None:
    """The actions that the annotation of a post names; None where it names none, or cannot be read."""
    try:
        return list(dict.fromkeys(_actions(typing.get_type_hints(post)["return"])))
    except Exception:  # whatever the evaluation of a user's annotation raises
        return None


def _actions(hint: Any) -> Iterator[str]:
    """The actions of an annotation. Raises: `TypeError` if it allows others than those it names."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal and all(isinstance(action, str | None) for action in parts):
        yield from (action or "default" for action in parts)
    elif kind in (typing.Union, types.UnionType):
        for part in parts:
            yield from _actions(part)
    elif hint in (None, types.NoneType):
        yield "default"
    elif hasattr(hint, "__value__"):  # `type Action = Literal[...]`
        yield from _actions(hint.__value__)
    else:
        raise TypeError(hint)


def _minus(action: str) -> str:
    return "" if action == "default" else f" - {_quoted(action)}"


def _shown(action: str) -> str:
    return "None" if action == "default" else _quoted(action)


def _quoted(action: str) -> str:
    return json.dumps(action, ensure_ascii=False)


# Dataflows


def _misfits(flow: Any) -> Iterator[str]:
    """Tasks whose annotated result cannot be what another task takes."""
    makers = {output: flow.tasks[name] for name in flow.order for output in flow.tasks[name].outputs}
    for user in (flow.tasks[name] for name in flow.order):
        for parameter, key in user.needs.items():
            maker = makers.get(key)
            if (
                maker is None
                or maker.returns
                or maker.each
                or parameter in user.each
                or "." in user.keys.get(parameter, "")
            ):
                continue  # the value is a part of the result, or made of several
            given, wanted = _returned(maker.function), user.parameters[parameter].annotation
            if not _may_fit(given, wanted):
                yield (
                    f"{maker.name} returns {_type_name(given)}, which cannot be the {_type_name(wanted)} "
                    f"that {user.name} takes as {parameter}: change one of the annotations"
                )


def _returned(function: Any) -> Any:
    try:
        returned = inspect.signature(function, eval_str=True).return_annotation
    except Exception:  # whatever the evaluation of a user's annotation raises
        return Any
    is_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return Any if returned is inspect.Signature.empty or is_stream else returned


def _may_fit(given: Any, wanted: Any) -> bool:
    """Whether a value of one type can be one of the other; yes for all that are not plain classes."""
    givens, wanteds = _classes(given), _classes(wanted)
    if not givens or not wanteds:
        return True
    return any(issubclass(one, other) or issubclass(other, one) for one in givens for other in _with_smaller(wanteds))


def _classes(hint: Any) -> list[type]:
    """The classes that values of a type are of; none if that cannot be said."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [_classes(part) for part in typing.get_args(hint)]
        return [cls for part in parts for cls in part] if all(parts) else []
    if origin is typing.Annotated:
        return _classes(typing.get_args(hint)[0])
    if hint is Any:
        return []
    if hint is None:
        return [types.NoneType]
    cls = origin or hint
    is_plain = inspect.isclass(cls) and not getattr(cls, "_is_protocol", False) and type(cls) is not abc.ABCMeta
    return [cls] if is_plain and not typing.is_typeddict(cls) else []


def _with_smaller(classes: list[type]) -> list[type]:
    """With the numbers that may stand for larger ones: an int for a float."""
    return [*classes, *([int] if float in classes else []), *([int, float] if complex in classes else [])]


def _type_name(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint).replace("typing.", "")
