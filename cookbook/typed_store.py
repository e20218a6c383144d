"""Typed stores: a dataclass in place of the dict, and a type checker reads what nodes do with it.

    python -m cookbook.typed_store "To be, or not to be: that is the question."

`shared` may be any object. With a dataclass a misspelt key is an error of mypy and pyright before
anything runs, the editor completes it, and the class says in one place what the flow reads and writes.
The rest of the cookbook uses a dict, which is shorter.
"""

from dataclasses import dataclass, field

from cookbook.terminal import argument, run
from pocketflow import Flow, Node


@dataclass
class Store:
    text: str  # what goes in
    words: list[str] = field(default_factory=list)
    longest: str | None = None  # what comes out


class Split(Node):
    def prep(self, shared: Store) -> str:
        return shared.text

    def exec(self, text: str) -> list[str]:
        return [word.strip(".,:;!?") for word in text.split()]

    def post(self, shared: Store, text: str, words: list[str]) -> None:
        shared.words = words


class Choose(Node):
    def prep(self, shared: Store) -> list[str]:
        return shared.words

    def exec(self, words: list[str]) -> str:
        return max(words, key=len)

    def post(self, shared: Store, words: list[str], longest: str) -> None:
        shared.longest = longest


split = Split()
split.next(Choose())  # as `split >> Choose()`, which pyright reports as an expression without a use
flow = Flow(start=split)


def main() -> None:
    store = Store(text=argument("To be, or not to be: that is the question."))
    flow.run(store)
    print(f"{len(store.words)} words, the longest is {store.longest!r}")


if __name__ == "__main__":
    run(main)
