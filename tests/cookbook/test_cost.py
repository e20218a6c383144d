"""The recipes that save and count what calls cost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cookbook.usage_and_cost import Cost, OverBudget
from pocketflow import Flow, Node
from pocketflow.hooks import emit
from tests.cookbook.runner import NEEDS, ask, run
from tests.model_server import USAGE, Raw, model_server, whole


def test_llm_cache_pays_for_a_prompt_once(tmp_path: Path):
    file = str(tmp_path / "cache.db")
    paid = "paid for: How do I sort a list?\npaid for: How do I shuffle a list?\n"
    answers = run_twice(file, paid)
    sort, shuffle, again = answers.splitlines()
    assert sort == again
    assert sort.endswith("[list.sort]")
    assert shuffle == "Shuffle list x in place, and return None. [random.shuffle]"


def run_twice(file: str, paid: str) -> str:
    """What a first run prints after what it paid for, and a second one alone."""
    first, second = ask("llm_cache", file), run("llm_cache", file)
    assert first == paid + second
    return second


def test_usage_and_cost_adds_up_every_node():
    *_, answer, total = ask("usage_and_cost").splitlines()
    row = r"{}: {} calls, \d+ tokens in, \d+ out, 0\.\d{{4}} cents"
    assert re.fullmatch(row.format("Answer", 3), answer)
    assert re.fullmatch(row.format("SumUp", 1), total)


class Spend(Node):
    def exec(self, prep_res):
        emit({"type": "usage", "model": "any", "input_tokens": 1_000_000, "output_tokens": 1_000_000})


def test_a_budget_lets_a_call_exceed_it_and_refuses_the_next():
    first = Spend()
    first >> Spend()
    cost = Cost(budget=74)
    with cost, pytest.raises(OverBudget, match=r"75\.0000 cents are spent, of 74"):
        Flow(first).run({})
    assert cost.tokens["Spend"]["calls"] == 1
    assert cost.cents("Spend") == cost.cents() == 75


def test_usage_and_cost_counts_the_tokens_that_a_model_tells():
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: Raw(whole({"content": "fine"}, USAGE))) as server:
        *_, answer, total = run("usage_and_cost", model=server.environment).splitlines()
    assert answer.startswith("Answer: 3 calls, 36 tokens in, 9 out, ")
    assert total.startswith("SumUp: 1 calls, 12 tokens in, 3 out, ")
