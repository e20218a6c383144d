"""A visit works on a shallow copy of its node, made as `copy.copy` makes it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import Say
from tests.kits import SyncKit


def test_a_visit_works_on_a_copy_and_a_run_on_the_node_itself(kit: SyncKit):
    class Mark(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            self.marked = True

    node = Mark()
    kit.run(kit.Flow(node))
    assert not hasattr(node, "marked")
    kit.run(node)
    assert node.marked


def test_the_copy_is_shallow_so_that_what_a_node_holds_is_shared(kit: SyncKit):
    class Collect(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            self.seen.append(1)

    node = Collect()
    node.seen = []
    kit.run(kit.Flow(node))
    assert node.seen == [1]


def test_a_visit_copies_slots_and_what_a_built_in_base_holds(kit: SyncKit):
    class Slotted(kit.Node):
        __slots__ = ("word",)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["word"] = self.word

    class Table(kit.Node, dict):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["row"] = self["row"]

    slotted, table, shared = Slotted(), Table(), {}
    slotted.word, table["row"] = "kept", 1
    slotted >> table
    kit.run(kit.Flow(slotted), shared)
    assert shared == {"word": "kept", "row": 1}


class WithGetstate(pf.Node):
    """Leaves its lock at home, as a class that is pickled does."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = object()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "lock"}


class WithSetstate(pf.Node):
    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state, copied=True)


class WithReduce(pf.Node):
    def __reduce__(self) -> Any:
        return WithReduce, (), {**self.__dict__, "copied": True}


class WithReduceEx(pf.Node):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return WithReduceEx, (), {**self.__dict__, "copied": True}


class WithCopy(pf.Node):
    def __copy__(self) -> Any:
        twin = type(self)()
        twin.__dict__.update(self.__dict__, copied=True)
        return twin


class Singleton(pf.Node):
    instance: Any = None

    def __new__(cls) -> Any:
        cls.instance = cls.instance or super().__new__(cls)
        return cls.instance


def visited(node: Any) -> Any:
    """The copy of a node that a visit worked on."""

    class Look(pf.Flow):
        def get_next_node(self, curr: Any, action: Any) -> Any:
            seen.append(curr)

    seen: list[Any] = []
    Look(node).run({})
    return seen[0]


def test_a_getstate_is_respected():
    assert not hasattr(visited(WithGetstate()), "lock")


@pytest.mark.parametrize("cls", [WithSetstate, WithReduce, WithReduceEx, WithCopy])
def test_how_a_class_says_it_is_copied_is_how_it_is_copied(cls: type):
    assert visited(cls()).copied


def test_a_new_that_makes_one_instance_only_makes_no_second():
    node = Singleton()
    assert visited(node) is node


def test_a_subclass_of_such_a_class_is_copied_so_too():
    class Child(WithSetstate): ...

    assert visited(Child()).copied


def test_the_copy_has_the_class_and_all_attributes_of_its_node(kit: SyncKit):
    node = kit.Node(max_retries=2, wait=1)
    node.note = object()
    node >> Say()
    twin = copy.copy(node)
    assert type(twin) is type(node)
    assert vars(twin) == vars(node)
    assert vars(twin) is not vars(node)


def test_a_deep_copy_and_a_pickle_of_a_plain_node_work():
    node = Say("word")
    node >> Say("next")
    for twin in (copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert twin.successors["default"].word == "next"
        assert twin.successors["default"] is not node.successors["default"]
