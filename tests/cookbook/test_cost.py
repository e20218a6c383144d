"""The recipes that save and count what calls cost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cookbook import llm_cache
from cookbook.usage_and_cost import Cost, OverBudget
from pocketflow import Flow, Node
from pocketflow.hooks import emit
from tests.cookbook.runner import NEEDS, OFFLINE, ask, call, environment, run
from tests.model_server import USAGE, Raw, model_server, whole


def test_llm_cache_pays_for_a_prompt_once(tmp_path: Path):
    file = str(tmp_path / "cache.db")
    paid = "paid for: How do I sort a list?\npaid for: How do I shuffle a list?\n"
    answers = run_twice(file, paid)
    sort, shuffle, again = answers.splitlines()
    assert sort == again
    assert sort.endswith("[list.sort]")
    assert shuffle == "Shuffle list x in place, and return None. [random.shuffle]"


def test_llm_cache_says_in_one_line_what_it_cannot_open(tmp_path: Path):
    assert call("llm_cache", str(tmp_path)) == (2, "", f"{tmp_path}: unable to open database file\n")


def run_twice(file: str, paid: str) -> str:
    """What a first run prints after what it paid for, and a second one alone."""
    first, second = ask("llm_cache", file), run("llm_cache", file)
    assert first == paid + second
    return second


def test_llm_cache_pays_again_once_the_prompt_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["llm_cache", str(tmp_path / "cache.db")])
    monkeypatch.setattr("os.environ", environment())
    for prompt in ("Answer: {question}", "Answer in rhyme: {question}", "Answer: {question}"):
        monkeypatch.setattr(llm_cache, "PROMPT", prompt)
        llm_cache.main()
    assert capsys.readouterr().out.count("paid for: How do I sort a list?\n") == 2


def test_usage_and_cost_adds_up_every_node():
    *_, answer, total = ask("usage_and_cost").splitlines()
    row = r"{}: {}, \d+ tokens in, \d+ out, 0\.\d{{4}} cents"
    assert re.fullmatch(row.format("Answer", "3 calls"), answer)
    assert re.fullmatch(row.format("SumUp", "1 call"), total)


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


class Fail(Node):
    def exec(self, prep_res):
        emit({"type": "usage", "model": "any", "input_tokens": 10_000_000, "output_tokens": 0})
        raise ValueError("not the answer that was wanted")


def test_a_budget_refuses_a_retry_too():
    with Cost(budget=1) as cost, pytest.raises(OverBudget, match=r"150\.0000 cents are spent, of 1"):
        Fail(max_retries=5).run({})
    assert cost.tokens["Fail"]["calls"] == 1


def test_a_budget_given_on_the_command_line_stops_the_run():
    status, out, err = call("usage_and_cost", "0.01")
    assert re.fullmatch(OFFLINE + r"stopped: 0\.0\d+ cents are spent, of 0\.01\n", err)
    assert (status, re.findall(r"^\w+: \d", out, re.MULTILINE)) == (0, ["Answer: 2"])


@pytest.mark.parametrize("word", ["many", "0", "-1", "nan"])
def test_a_budget_that_is_no_number_is_told_in_one_line(word: str):
    assert call("usage_and_cost", word) == (2, "", f"{word}: write a number above 0\n")


def test_usage_and_cost_counts_the_tokens_that_a_model_tells():
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: Raw(whole({"content": "fine"}, USAGE))) as server:
        *_, answer, total = run("usage_and_cost", model=server.environment).splitlines()
    assert answer.startswith("Answer: 3 calls, 36 tokens in, 9 out, ")
    assert total.startswith("SumUp: 1 call, 12 tokens in, 3 out, ")
