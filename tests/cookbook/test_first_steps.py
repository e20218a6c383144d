"""The first recipes of the course, and how any recipe begins and ends."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pocketflow.graph import check
from tests.cookbook.runner import NEEDS, OFFLINE, ROOT, ask, call, environment, run, run_process
from tests.model_server import model_server
from tests.processes import finished, started


def test_the_command_of_the_readme_works_in_a_process_of_its_own():
    done = run_process("agent", "How do I cache the results of a function?")
    assert (done.returncode, done.stderr) == (0, OFFLINE)
    assert "[functools.lru_cache]" in done.stdout


def test_hello_answers_from_the_documentation():
    assert ask("hello") == "Shuffle list x in place, and return None. [random.shuffle]\n"


def test_hello_takes_the_other_edge_for_what_nobody_knows():
    assert ask("hello", "What is zzyzx?") == "I do not know.\n"


def test_hello_shows_what_a_model_says():
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: "Use random.shuffle.") as server:
        assert run("hello", "How do I shuffle a list?", model=server.environment) == "Use random.shuffle.\n"
    assert "Question: How do I shuffle a list?" in server.requests[0]["messages"][0]["content"]


def test_chat_answers_remembers_and_ends_at_bye():
    answers = ask("chat", stdin="sort a list\nagain\nbye\n").split("> ")
    assert answers[1].endswith("[list.sort]\n")
    assert answers[1:] == [answers[1], answers[1], ""]


def test_chat_ends_cleanly_where_the_input_does():
    assert run("chat") == "> \n"


def test_chat_sends_the_whole_history_to_a_model():
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: f"You said {prompt}.") as server:
        assert run("chat", stdin="one\ntwo\n", model=server.environment) == "> You said one.\n> You said two.\n> \n"
    said = [[message["content"] for message in request["messages"]][1:] for request in server.requests]
    assert said == [["one"], ["one", "You said one.", "two"]]


def test_ctrl_c_ends_a_chat_without_a_traceback():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started([sys.executable, "-u", "-m", "cookbook.chat"], cwd=ROOT, env=environment(), **pipes) as chat:
        assert chat.stdout
        assert chat.stdout.read(2) == "> "
        chat.send_signal(signal.SIGINT)
        assert chat.communicate(timeout=60) == ("\n", "")
    assert chat.returncode == 130


def test_structured_output_is_repaired_by_the_second_attempt():
    pytest.importorskip("pydantic", reason=NEEDS)
    rejected, attempt, *person = ask("structured_output").splitlines()
    assert rejected == "rejected: skills.1: Input should be 'python', 'sql', 'rust', 'french' or 'german'"
    assert attempt == "accepted at attempt 2"
    assert json.loads("".join(person)) == {
        "name": "Ada Lovelace", "email": "ada@example.org", "skills": ["python", "sql", "french"],
    }  # fmt: skip


def test_structured_output_tells_a_model_what_was_wrong():
    pytest.importorskip("pydantic", reason=NEEDS)
    pytest.importorskip("openai", reason=NEEDS)

    def reply(prompt: str) -> str:
        skills = [] if "Input should be 'python', 'sql'" in prompt else ["juggling"]
        return json.dumps({"name": "Bob", "email": "b@c.de", "skills": skills})

    with model_server(reply) as server:
        assert '"skills": []' in run("structured_output", model=server.environment)
    assert len(server.requests) == 2


def test_structured_output_gives_up_after_three_attempts(tmp_path: Path):
    pytest.importorskip("pydantic", reason=NEEDS)
    letter = tmp_path / "letter.txt"
    letter.write_text("Bob\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        assert call("structured_output", str(letter))[0] == 1


def test_article_is_written_by_three_at_once_and_published_when_someone_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("builtins.input", lambda question: answers.pop(0))
    monkeypatch.setattr("asyncio.sleep", at_once)
    answers = ["again", "maybe", "publish"]
    out = ask("article", "asyncio queue")
    first, second, third, *_ = out.split("\n\n")
    assert first.startswith("A queue, useful for coordinating producer and consumer coroutines.")
    assert out.count(second) == out.count(third) == 3  # after each answer
    assert "'maybe' is not an answer at Article/" in out
    assert out.endswith("\nPublished.\n")


def test_article_says_what_nobody_knows_enough_about():
    assert run("article", "xyzzy") == "There is too little about xyzzy.\n"


async def at_once(seconds: float) -> None:
    """In place of `asyncio.sleep`."""


def test_workflow_writes_an_article_with_three_sections():
    lines = ask("workflow", "sort a list").splitlines()
    assert lines[0] == "# Sort a list"
    assert "## list.sort" in lines
    assert sum(line.startswith("## ") for line in lines) == 3


def test_workflow_says_nothing_twice():
    lines = [line.split(" [")[0] for line in ask("workflow", "temporary files").splitlines() if line.endswith("]")]
    assert len({line.split(".")[0] for line in lines}) == len(lines) == 3


def test_workflow_says_so_where_nothing_is_found():
    assert ask("workflow", "zzyzx") == "# Zzyzx\n\nThe documentation says nothing of it.\n"


def test_batch_reads_a_file_in_chunks(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("name,n\n" + "".join(f"row,{n}\n" for n in range(1, 121)))
    assert run("batch", str(table), "n") == "120 rows in 3 chunks\ntotal 7,260, mean 60.50, largest 120\n"


def test_nested_batch_averages_every_pupil_and_the_school():
    assert run("nested_batch") == (
        "class_a\n  ada: 1.33\n  bob: 3.00\nclass_b\n  cyd: 2.00\n  dan: 4.00\nschool: 2.58\n"
    )


def test_nested_batch_says_so_where_a_folder_holds_no_marks(tmp_path: Path):
    (tmp_path / "class_a").mkdir()
    assert run("nested_batch", str(tmp_path)) == "class_a\nno marks\n"


def test_map_reduce_tells_what_it_could_not_read(tmp_path: Path):
    text = tmp_path / "tea.txt"
    text.write_text("Tea is hot. Tea needs water, hot water. Bye.")
    assert ask("map_reduce", str(text), str(tmp_path / "gone")) == (
        "gone: FileNotFoundError\ntea.txt: Tea is hot.\n\nNo two speak of the same.\n"
    )


def test_map_reduce_asks_nobody_where_no_file_could_be_read(tmp_path: Path):
    assert run("map_reduce", str(tmp_path / "gone")) == "gone: FileNotFoundError\n"


def test_map_reduce_names_what_the_files_share(tmp_path: Path):
    for name, text in ("one.txt", "Tea is hot."), ("two.txt", "Water makes tea."):
        (tmp_path / name).write_text(text)
    files = sorted(str(file) for file in tmp_path.iterdir())
    assert ask("map_reduce", *files).endswith("\n\nSeveral speak of: tea\n")


def test_typed_store_runs_on_a_dataclass():
    assert run("typed_store", "to be or perhaps not") == "5 words, the longest is 'perhaps'\n"


@pytest.mark.parametrize("recipe", ["cpu_batch", "rate_limit"])
@pytest.mark.parametrize("word", ["many", "0", "-1", "1.5"])
def test_what_is_no_whole_number_is_told_in_one_line(recipe: str, word: str):
    assert call(recipe, word) == (2, "", f"{word}: write a whole number of at least 1\n")


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_what_a_recipe_says_at_its_top_and_nothing_runs(word: str):
    out = run("agent", word)
    assert out.startswith("An agent: decide, search, decide again, and answer from what was found.\n")
    assert "python -m cookbook.agent" in out


@pytest.mark.parametrize("recipe", ["hello", "streaming"])  # the second writes word by word
def test_a_recipe_whose_pipe_is_closed_ends_without_a_traceback(recipe: str):
    command = [sys.executable, "-W", "error", "-m", f"cookbook.{recipe}"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, cwd=ROOT, env=environment(), **pipes) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == OFFLINE
        assert process.wait(60) == 141


def test_a_recipe_whose_input_or_output_is_closed_ends_as_if_it_were_empty():
    for recipe, closed, output in ("chat", "<&-", "> \n"), ("typed_store", ">&-", ""):
        command = f'exec "$0" -W error -m cookbook.{recipe} {closed}'
        done = finished(["bash", "-c", command, sys.executable], cwd=ROOT, env=environment())
        assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_a_folder_in_place_of_a_file_is_told_in_one_line(tmp_path: Path):
    assert call("batch", str(tmp_path)) == (2, "", f"{tmp_path}: Is a directory\n")


@pytest.mark.parametrize(
    ("recipe", "package", "line"),
    [
        ("structured_output", "pydantic", "needs pydantic: pip install pydantic\n"),
        ("web_service", "fastapi", "needs FastAPI: pip install fastapi httpx\n"),
        ("otel", "opentelemetry.sdk.trace", "needs OpenTelemetry: pip install opentelemetry-sdk\n"),
        ("dask_batch", "distributed", "needs Dask: pip install 'dask[distributed]'\n"),
    ],
)
def test_a_recipe_without_its_package_says_what_to_install(
    recipe: str, package: str, line: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, package, None)
    assert call(recipe) == (2, "", line)


FLOWS = [file.stem for file in sorted((ROOT / "cookbook").glob("*.py")) if "\nflow = " in file.read_text()]


@pytest.mark.parametrize("recipe", sorted({*FLOWS} - {"draw"}))  # which shows a flow with mistakes
def test_the_check_finds_nothing_in_the_flow_of_a_recipe(recipe: str):
    try:
        module = importlib.import_module(f"cookbook.{recipe}")
    except SystemExit:
        pytest.skip(NEEDS)
    assert check(module.flow) == []
