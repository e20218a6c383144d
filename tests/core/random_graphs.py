"""Random graphs (branches, loops, nesting, batches): their plans, flows of them, and a naive interpreter."""

from __future__ import annotations

import asyncio
import random
from typing import Any, NamedTuple

import pocketflow as pf

ACTIONS = [None, "", "a", "b"]


class Visit(NamedTuple):
    """A node of a plan: what its visits return, one action after the other."""

    word: int
    actions: list[Any]


class Graph(NamedTuple):
    """A plan of a flow: places (each a Visit or a Graph), edges, and the entries of a batch flow."""

    places: list[Any]
    edges: dict[tuple[int, str], int]
    entries: list[int] | None


def plan(rng: random.Random, depth: int = 0) -> Graph:
    def place() -> Any:
        if depth < 2 and rng.random() < 0.25:
            return plan(rng, depth + 1)
        return Visit(rng.randrange(10**9), [rng.choice(ACTIONS) for _ in range(rng.randint(1, 4))] + ["end"])

    places = [place() for _ in range(rng.randint(1, 5))]
    edges = {
        (source, action): rng.randrange(len(places))
        for source in range(len(places))
        for action in ("default", "a", "b")
        if rng.random() < 0.5
    }
    return Graph(places, edges, rng.sample(range(9), rng.randint(1, 3)) if rng.random() < 0.2 else None)


def interpret(graph: Graph, log: list[Any], counts: dict[int, int], entry: Any = None) -> Any:
    """What the graph does, in the plainest words. An action list that runs out says "end" for ever."""

    def once(entry: Any) -> Any:
        at = 0
        while True:
            place = graph.places[at]
            if isinstance(place, Graph):
                action = interpret(place, log, counts, entry)
            else:
                turn = counts[place.word] = counts.get(place.word, -1) + 1
                action = place.actions[min(turn, len(place.actions) - 1)]
                log.append((place.word, entry))
            following = graph.edges.get((at, action or "default"))
            if following is None or len(log) > 200:
                return action
            at = following

    if graph.entries is None:
        return once(entry)
    for inner in graph.entries:
        once(inner)
    return None


class TooLong(Exception):
    """Raised by a node of a run that does not end; the oracle stops there as well."""


def build(graph: Graph, node_base: Any, flow_base: Any, batch_base: Any) -> Any:
    is_async = issubclass(flow_base, pf.AsyncFlow)

    def node(place: Any) -> Any:
        if isinstance(place, Graph):
            return build(place, node_base, flow_base, batch_base)
        return visit(place)

    def visit(place: Visit) -> Any:
        def post(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            turn = shared["counts"][str(place.word)] = shared["counts"].get(str(place.word), -1) + 1
            shared["log"].append((place.word, self.params.get("entry")))
            if len(shared["log"]) > 200:
                raise TooLong
            return place.actions[min(turn, len(place.actions) - 1)]

        async def post_async(self: Any, *args: Any) -> Any:
            return post(self, *args)

        as_async = issubclass(node_base, pf.AsyncNode) and place.word % 2
        base = node_base if as_async else pf.Node
        return type("Visit", (base,), {"post_async": post_async} if as_async else {"post": post})()

    def entries(self: Any, shared: Any) -> Any:
        return iter([{"entry": entry} for entry in graph.entries or ()])

    async def entries_async(self: Any, shared: Any) -> Any:
        return entries(self, shared)

    nodes = [node(place) for place in graph.places]
    for (source, action), target in graph.edges.items():
        nodes[source].next(nodes[target], action)
    if graph.entries is None:
        return flow_base(nodes[0])
    prep = {"prep_async": entries_async} if is_async else {"prep": entries}
    return type("Entries", (batch_base,), prep)(nodes[0])


def outcome(flow: Any) -> tuple[Any, list[Any]]:
    shared: dict[str, Any] = {"log": [], "counts": {}}
    try:
        result = flow.run_async(shared) if isinstance(flow, pf.AsyncFlow) else flow.run(shared)
        return asyncio.run(result) if asyncio.iscoroutine(result) else result, shared["log"]
    except TooLong:
        return "too long", shared["log"][:200]


VARIANTS = {
    "sync": (pf.Node, pf.Flow, pf.BatchFlow),
    "async": (pf.AsyncNode, pf.AsyncFlow, pf.AsyncBatchFlow),
}
