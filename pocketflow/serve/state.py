"""How a run stands: folded from its events while it runs, and from its history otherwise."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from pocketflow.graph import Graph
from pocketflow.text import plain

Json = dict[str, Any]

LONGEST = 20_000  # characters that are kept of an output
OUTPUTS = 200  # that are kept of a run, the most recent ones
_VISIT = re.compile(r"/~?\d+:")  # the number of a visit in a path
_INDEX = re.compile(r"\[\d+\]")


class State:
    """What is to be seen of a run: how each node of its graph stands, and what it has put out.

    graph: None for a run whose flow is not known.
    past: rows of the history from before a resume, for what is inside the steps that are skipped.

    nodes: id -> dict with "state" ("running", "done", "restored", "waiting", "failed" or "stopped"),
        "visits", "items" and "items_done" of the visit at hand, and "retries".
    tokens: "input" and "output", of all calls that told them; retries: since the run began or was resumed.
    outputs: slot -> dict with "slot", "id", "path" (of the visit), "label", "state", "text", "cut"
        (characters left out before the text) and "kind" ("stream" or "result"): one for each node and
        item, with what its last visit put out.
    """

    def __init__(self, graph: Graph | None, past: Iterable[Mapping[str, Any]] = ()) -> None:
        self.graph = graph
        self.past = defaultdict[str, list[Mapping[str, Any]]](list)  # the rows inside a visit, by its path
        self.tokens, self.retries = {"input": 0, "output": 0}, 0
        for row in past:
            self._restore_tokens(row)
            for visit in _visits_around(row["path"]):
                self.past[visit].append(row)
        self.nodes: dict[str, Json] = {}
        self.outputs: dict[str, Json] = {}
        self.failed_at = ""  # the path of the node that the run failed at
        self._ids: dict[str, str | None] = {}  # of the visits that run, by their paths
        self._inside: dict[str, set[str]] = {}  # the visits that run inside one
        self._running = Counter[str | None]()  # how many visits of a node run
        self._changed = set[str]()  # the nodes that an event has changed
        self._actions: dict[str, Any] = {}  # what visits ended with, where nodes have the same name
        self._has_twins = graph is not None and any("~" in node.id for node in graph.nodes)

    def described(self) -> Json:
        """What a watcher begins with; events go on from there."""
        numbers = {"tokens": {**self.tokens}, "retries": self.retries}
        return {**numbers, "nodes": self.nodes, "outputs": list(self.outputs.values())}

    def locate(self, path: str) -> str | None:
        """The id of the node that a step belongs to."""
        if path in self._ids:
            return self._ids[path]
        return self.graph.locate(path, self._actions) if self.graph and path else None

    # Events, as they come

    def apply(self, event: Json) -> Json:
        """The event with the "id" of its node, and with "changes": new values to assign.

        They stand by themselves, as an event has any keys that the node likes.
        """
        path = event["path"]
        changes: Json = {}
        told = {**event, "id": self.locate(path), "changes": changes}
        match event["type"]:
            case "node_start":
                self._begin(path)
            case "node_end":
                changes |= self._end(event)
            case "item_start":
                self._count(path, "items")
            case "item_end":
                self._count(path, "items_done")
                changes |= self._end_stream(event)
            case "node_retry":
                self.retries += 1
                self._count(path, "retries")
                changes |= self._begin_again(event) | {"run": {"retries": self.retries}}
            case "node_error":
                self.failed_at = path
            case "chunk":
                changes |= self._stream(event)
            case "usage":
                self._count_tokens(event)
                changes["run"] = {"tokens": {**self.tokens}}
        if self._changed:
            changes["nodes"] = {id: {**self.nodes[id]} for id in self._changed}
            self._changed.clear()
        return told

    def _count_tokens(self, usage: Mapping[str, Any]) -> None:
        for kind in self.tokens:
            self.tokens[kind] += _whole(usage.get(f"{kind}_tokens"))

    def _begin(self, path: str) -> None:
        id = self._ids[path] = self.locate(path)
        self._inside.setdefault(_outer_visit(path), set()).add(path)
        if self._is_visit(path) and id is not None:
            if not self._running[id]:
                self._node(id).update(items=0, items_done=0)
            self._running[id] += 1
            self._node(id).update(state="running", visits=self._node(id)["visits"] + 1)

    def _end(self, event: Json) -> Json:
        path = event["path"]
        if self._has_twins:
            self._actions[path] = event.get("action")
        told = self._end_stream(event)
        self._leave(path, "restored" if event.get("skipped") else "done")
        if event.get("skipped") and self._restore_inside(path):
            told["refresh"] = True
        return told

    def _leave(self, path: str, state: str) -> None:
        """A visit has ended, and with it all inside it that was cut short."""
        if path not in self._ids:  # a node has emitted such an event itself
            return
        for inner in self._inside.pop(path, ()):
            self._leave(inner, "failed")
        id = self.locate(path)
        if id is not None and self._is_visit(path):
            self._running[id] -= 1
            self._node(id)["state"] = "running" if self._running[id] else state
        self._ids.pop(path, None)
        self._inside.get(_outer_visit(path), set()).discard(path)

    def _count(self, path: str, what: str) -> None:
        if (id := self.locate(path)) is not None and (self._is_visit(path) or what == "retries"):
            self._node(id)[what] += 1

    def _node(self, id: str) -> Json:
        self._changed.add(id)
        return self.nodes.setdefault(id, {"state": "running", "visits": 0, "items": 0, "items_done": 0, "retries": 0})

    def _is_visit(self, path: str) -> bool:
        """Whether it is a visit of a node of the graph, and nothing that code inside a node runs."""
        outer = path.rpartition("/")[0]
        return not outer or self.locate(outer) != self.locate(path)

    # Outputs

    def _stream(self, event: Json) -> Json:
        """Add a chunk to its output; the first one of a visit begins it anew."""
        chunk = event.get("chunk")
        text = chunk if isinstance(chunk, str) else f"{shown(chunk)}\n"
        output = self._streamed(event)
        if output is None:
            cut = max(0, len(text) - LONGEST)
            return {"output": {**self._put(event, "running", "stream", text[cut:], cut)}}
        output["text"] += text
        if len(output["text"]) > 2 * LONGEST:
            output["cut"] += len(output["text"]) - LONGEST
            output["text"] = output["text"][-LONGEST:]
        return {"append": {"slot": output["slot"], "text": text}}

    def _streamed(self, event: Json) -> Json | None:
        """What the visit has streamed so far, if it has."""
        output = self.outputs.get(self._slot(event))
        return output if output and (output["path"], output["kind"]) == (event["path"], "stream") else None

    def _begin_again(self, event: Json) -> Json:
        """What a failed attempt has streamed is no part of what the next one says."""
        output = self._streamed(event)
        if output is None:
            return {}
        output.update(state="running", text="", cut=0)
        return {"output": {**output}}

    def _end_stream(self, event: Json) -> Json:
        output = self._streamed(event)
        if output is None:
            return {}
        output["state"] = "restored" if event.get("skipped") else "done"
        return {"output": {key: value for key, value in output.items() if key != "text"}}

    def put_result(self, path: str, item: int | None, text: str, *, is_restored: bool) -> Json | None:
        """An event for what an exec returned, which stands for what was not streamed; None where something was."""
        place = {"type": "result", "path": path} | ({} if item is None else {"item": item})
        if self._streamed(place):
            return None
        output = self._put(place, "restored" if is_restored else "done", "result", _cut(text))
        return {**place, "id": output["id"], "changes": {"output": {**output}}}

    def _put(self, event: Json, state: str, kind: str, text: str, cut: int = 0) -> Json:
        path, slot = event["path"], self._slot(event)
        self.outputs.pop(slot, None)  # so that the most recent one is the last
        self.outputs[slot] = output = {
            "slot": slot, "id": self.locate(path), "path": path,
            "label": self._label(path, event.get("item")),
            "state": state, "kind": kind, "text": text, "cut": cut,
        }  # fmt: skip
        if len(self.outputs) > OUTPUTS:
            del self.outputs[next(iter(self.outputs))]
        return output

    def _slot(self, event: Json) -> str:
        """A key for a node, the entries and branches around it, and its item; the same in each visit."""
        path, item = event["path"], event.get("item")
        twin = f"{self.locate(path)} " if self._has_twins else ""
        return twin + _VISIT.sub("/", path) + ("" if item is None else f"[{item}]")

    def _label(self, path: str, item: int | None) -> str:
        """The name of the node, with the numbers of entries and items, by which alone its outputs differ."""
        id, parts = self.locate(path), _VISIT.sub("/", path).split("/")
        name = self.graph[id].name if self.graph and id else _INDEX.sub("", parts[-1])
        numbers = [
            number
            for part, of_graph in zip_longest(parts, (id or "").split("/"), fillvalue="")
            if not _INDEX.search(of_graph)  # else it is a branch, and each branch has nodes of its own
            for number in _INDEX.findall(part)
        ]
        return " ".join([name, *numbers, *([] if item is None else [f"[{item}]"])])

    # Rows of a history

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Fold what a journal has of a run that does not run here."""
        begun = dict[str, None]()
        for row in rows:
            self._restore_tokens(row)
            if row["kind"] in ("node", "flow"):
                begun.pop(row["path"], None)
            else:
                begun |= dict.fromkeys(reversed([*_visits_of(row["path"])]))
            if row["kind"] == "status":
                self.failed_at = row["path"]  # "" unless it failed
            self._restore(row, "done")
        for path in begun:
            self._begin(path)

    def _restore_tokens(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "usage":
            self._count_tokens(row["event"])

    def _restore_inside(self, path: str) -> bool:
        """A restored step tells nothing of what is inside it, but its history does: whether there was anything."""
        rows = self.past.pop(path, [])
        for row in rows:
            self._restore(row, "restored")
        return bool(rows)

    def _restore(self, row: Mapping[str, Any], state: str) -> None:
        path = row["path"]
        if row["kind"] in ("node", "flow"):
            self._begin(path)
            self._leave(path, state)
            if self._has_twins:
                self._actions[path] = row["action"]
        if row["kind"] == "exec" and row["result"] is not None:
            visit, item = exec_of(path)
            self.put_result(visit, item, shown(row["result"]), is_restored=state == "restored")

    # The end

    def stop(self, status: str, questions: Iterable[Mapping[str, Any]]) -> Json:
        """The run has stopped with a status; the changes: all its nodes, and the outputs that were cut short."""
        asking = [question["path"] for question in questions]
        for path in sorted(self._ids, key=len, reverse=True):
            self._leave(path, self._left(path, status, asking))
        cut_short = [output for output in self.outputs.values() if output["state"] == "running"]
        for output in cut_short:
            output["state"] = self._left(output["path"], status, asking)
        self._changed.clear()
        nodes = {id: {**node} for id, node in self.nodes.items()}
        return {"nodes": nodes, "outputs": [{"slot": it["slot"], "state": it["state"]} for it in cut_short]}

    def _left(self, path: str, status: str, asking: list[str]) -> str:
        if status == "paused" and any(is_inside(question, path) for question in asking):
            return "waiting"
        if status == "failed" and (not self.failed_at or is_inside(self.failed_at, path)):
            return "failed"
        return "stopped"


def shown(value: Any) -> str:
    """A value as a person reads it: a text as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(plain(value), indent=1, ensure_ascii=False)
    except RecursionError:
        return "(nested too deeply to be shown)"


def _cut(text: str) -> str:
    """The beginning of a long text, which says how much is left out."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... and {len(text) - LONGEST:,} characters more"


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def exec_of(path: str) -> tuple[str, int | None]:
    """The visit and the number of the item that the path of an exec names."""
    visit, _, phase = path.rpartition("/")
    return visit, int(phase[5:-1]) if phase.endswith("]") else None


def _outer_visit(path: str) -> str:
    """The path of the visit around one; "" around the outermost."""
    outer = path.rpartition("/")[0]
    return outer[: outer.rindex("[")] if outer.endswith("]") else outer


def _visits_around(path: str) -> Iterator[str]:
    """The visit that a phase belongs to, and those of the flows around it."""
    while path := _outer_visit(path):
        yield path


def _visits_of(path: str) -> Iterator[str]:
    """The visit that a step is, or is a phase of, and those of the flows around it."""
    is_phase = "/" in path and ":" not in path.rpartition("/")[2]
    return _visits_around(path if is_phase else f"{path}/")


def is_inside(path: str, outer: str) -> bool:
    """Whether a step is another one, or runs inside it."""
    return path == outer or path.startswith((f"{outer}/", f"{outer}["))
