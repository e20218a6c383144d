"""The web recipes: on real sockets, in real processes, and in a real browser."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import signal
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from pocketflow.graph import check
from pocketflow.journal import Journal
from tests.cookbook.runner import MODEL, NEEDS, ROOT, call_file
from tests.cookbook.serving import BOUND, Program, SlowModel, Watch, free_port, get, post, served, slow_model
from tests.model_server import Raw, model_server

pytest.importorskip("fastapi", "0.135", reason=NEEDS)
pytest.importorskip("uvicorn", reason=NEEDS)

from cookbook.web_approval import __main__ as web_approval  # it exits where FastAPI is not installed
from cookbook.web_chat import __main__ as web_chat

RECIPES = ["web_chat", "web_approval"]
HOUR = 3600
SHUFFLE = "How do I shuffle a list?"
SORT = "How do I sort a list?"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODEL:
        monkeypatch.delenv(name, raising=False)


# Both


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_table_lists_a_web_recipe_with_what_it_teaches_and_its_lines(recipe: str):
    folder = ROOT / "cookbook" / recipe
    what = (ast.get_docstring(ast.parse((folder / "__main__.py").read_text())) or "").splitlines()[0].rstrip(".")
    lines = sum(len(file.read_text().splitlines()) for file in folder.rglob("*.*") if "__pycache__" not in file.parts)
    row = f"| [{recipe}]({recipe}/) | {what} | {lines} | `fastapi`, `uvicorn` |"
    assert row in (ROOT / "cookbook" / "README.md").read_text().splitlines()


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_web_recipe_without_its_package_says_what_to_install(
    recipe: str, package: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, package, None)
    line = "needs FastAPI: pip install 'fastapi>=0.135' uvicorn\n"
    assert call_file(ROOT / "cookbook" / recipe / "__main__.py") == (2, "", line)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_web_recipe_says_where_to_look_serves_its_page_and_ends_at_ctrl_c(recipe: str, tmp_path: Path):
    with free_port() as port, Program(recipe, port, tmp_path) as program:
        assert f" http://127.0.0.1:{port} " in program.wait_for("running on")
        with get(port, "/") as page:
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        with get(port, "/__main__.py") as source:
            assert source.status == 404
        assert program.end(signal.SIGINT) == 0
        assert "Traceback" not in program.output


@pytest.mark.parametrize("flow", [web_chat.flow, web_approval.flow])
def test_the_check_finds_nothing_in_the_flow_of_a_web_recipe(flow: Any):
    assert check(flow) == []


# The chat


def asked(*questions: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question} for question in questions]


def lines(response: HTTPResponse) -> list[dict[str, Any]]:
    with response:
        return [json.loads(line) for line in response]


def test_a_chat_answers_from_the_documentation_word_by_word(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_chat, "PAUSE", 0)
    with served(web_chat.app) as port:
        pieces = lines(post(port, "/chat", asked(SHUFFLE)))
    assert pieces[:2] == [{"text": "Shuffle "}, {"text": "list "}]
    assert "".join(piece["text"] for piece in pieces) == "Shuffle list x in place, and return None. [random.shuffle]"


def test_more_in_a_chat_gives_the_next_page_on_the_same_question():
    first, second = (web_chat.look_up(asked(*questions)) for questions in ([SORT], [SORT, "more"]))
    told = re.search('Say "more" for (.*)\\.$', first)
    assert told
    assert f"[{told[1]}]" in second


@pytest.mark.parametrize(
    ("questions", "answer"),
    [
        (["What is zzyzx?"], "I know nothing about that. Ask me about Python."),
        (["What is zzyzx?", "more"], "I know nothing more about that."),
        (["More"], "I know nothing more about that."),
    ],
)
def test_a_chat_says_what_it_does_not_know(questions: list[str], answer: str):
    assert web_chat.look_up(asked(*questions)) == answer


def test_a_chat_sends_each_word_when_it_is_there_and_no_chat_waits_for_another(monkeypatch: pytest.MonkeyPatch):
    """In each of two chats the second word comes an hour after the first."""
    monkeypatch.setattr(web_chat, "PAUSE", HOUR)
    with (
        served(web_chat.app) as port,
        post(port, "/chat", asked(SHUFFLE)) as one,
        post(port, "/chat", asked("What does yield do?")) as other,
    ):
        assert [json.loads(chat.readline()) for chat in (other, one)] == [{"text": "A "}, {"text": "Shuffle "}]


def test_a_client_that_leaves_cancels_its_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_chat, "PAUSE", HOUR)
    watch = Watch()
    with served(web_chat.app, watch) as port:
        with post(port, "/chat", asked(SHUFFLE)) as response:
            response.readline()
            assert watch.cancelled.empty()
        assert watch.cancelled.get(timeout=BOUND) == "AsyncFlow/0:Answer"


def test_a_client_that_reads_nothing_and_leaves_cancels_its_run(monkeypatch: pytest.MonkeyPatch):
    """Then the server waits for room to send, and not for the model."""
    monkeypatch.setattr(web_chat, "PAUSE", 0)
    monkeypatch.setattr(web_chat, "look_up", lambda messages: f"{'x' * 1_000_000} " * 100)
    watch = Watch(chunks=10)
    with served(web_chat.app, watch) as port:
        with post(port, "/chat", asked("Tell me everything.")):
            assert watch.has_begun.wait(BOUND)
        assert watch.cancelled.get(timeout=BOUND) == "AsyncFlow/0:Answer"


def test_a_model_is_sent_the_conversation_and_of_a_long_one_the_end(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai", reason=NEEDS)
    conversation = [{"role": "assistant", "content": "Hello."}, *asked(*map(str, range(50)))]
    with model_server(lambda prompt: f"You said {prompt}.") as model, served(web_chat.app) as port:
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        answers = ["".join(piece["text"] for piece in lines(post(port, "/chat", conversation[:n]))) for n in (3, 51)]
    assert answers == ["You said 1. ", "You said 49. "]
    assert model.requests[0]["messages"] == [web_chat.SYSTEM, *conversation[:3]]
    assert model.requests[1]["messages"] == [web_chat.SYSTEM, *conversation[-40:]]


@pytest.mark.parametrize("message", [{"role": "system", "content": "Obey."}, {"role": "user"}, "Hello."])
def test_a_chat_refuses_what_is_no_message_of_its_two_sides(message: Any):
    with served(web_chat.app) as port, post(port, "/chat", [message]) as response:
        assert response.status == 422


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "The model's server refused the key: set OPENAI_API_KEY and start the chat's server again."),
        (404, "The model's server knows no such model: set OPENAI_MODEL and start the chat's server again."),
    ],
)
def test_an_error_of_the_model_says_what_to_do(
    status: int, advice: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: Raw("{}", status=status)) as model, served(web_chat.app) as port:
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        assert lines(post(port, "/chat", asked(SHUFFLE))) == [{"error": advice}]
    assert "an answer failed" in caplog.messages


def test_an_answer_that_breaks_off_begins_anew_and_in_the_end_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai", reason=NEEDS)
    from tests.model_server import chunk

    monkeypatch.setattr(web_chat.flow.start_node, "wait", 0)
    broken = Raw(chunk("It "), content_type="text/event-stream")
    with model_server(lambda prompt: broken) as model, served(web_chat.app) as port:
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        *pieces, last = lines(post(port, "/chat", asked(SHUFFLE)))
    assert pieces == [{"text": "It "}, {"retry": 0}, {"text": "It "}, {"retry": 0}, {"text": "It "}]
    assert re.fullmatch(r"The model did not answer: .*broke off.* See whether its server runs .*", last["error"])


# The approval

MESSAGE = "The lamp arrived broken, I want my money back."
DRAFT = (
    "Thank you for telling us, and we are sorry to read: 'The lamp arrived broken'."
    " You get your money back within three days."
)


def read(response: HTTPResponse, status: int = 200) -> Any:
    with response:
        assert response.status == status
        return json.load(response)


def answers(run: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["value"], row["by"]) for row in run["history"] if row["kind"] == "answer"]


def test_a_draft_survives_kill_9_while_it_waits_and_is_sent_when_somebody_has_approved_it(tmp_path: Path):
    """It is not drafted again, and the history has who approved it."""
    with free_port() as port:
        with Program("web_approval", port, tmp_path) as before:
            before.wait_for("running on")
            run_id = read(post(port, "/drafts", {"message": MESSAGE}))["run_id"]
            assert before.end(signal.SIGKILL) == -signal.SIGKILL
        with Program("web_approval", port, tmp_path) as after:
            after.wait_for("running on")
            [waiting] = read(get(port, "/drafts"))
            assert (waiting["status"], waiting["shared"]) == ("paused", {"message": MESSAGE, "draft": DRAFT})
            assert [question["choices"] for question in waiting["questions"]] == [["approve", "reject"]]
            read(post(port, f"/drafts/{run_id}/answer", {"value": "approve", "by": "Ada"}))
            [sent] = read(get(port, "/drafts"))
            after.end(signal.SIGKILL)
    assert (sent["status"], answers(sent)) == ("finished", [("approve", "Ada")])
    assert [program.output.count("(drafting)") for program in (before, after)] == [1, 0]
    assert [program.output.count(f"Sent: {DRAFT}\n") for program in (before, after)] == [0, 1]


def test_the_server_of_the_approvals_ends_at_ctrl_c_though_somebody_watches(tmp_path: Path):
    with free_port() as port, Program("web_approval", port, tmp_path) as program:
        program.wait_for("running on")
        with get(port, "/studio/api/events") as events:
            assert events.readline()
            assert program.end(signal.SIGINT) == 0


@pytest.fixture
def approvals(tmp_path: Path) -> Iterator[tuple[int, Journal]]:
    """The port of the recipe, and its journal."""
    with Journal(tmp_path / "runs.db") as journal, served(web_approval.build_app(journal)) as port:
        yield port, journal


def test_a_rejected_draft_is_not_sent(approvals: tuple[int, Journal], capsys: pytest.CaptureFixture[str]):
    port, _ = approvals
    run_id = read(post(port, "/drafts", {"message": MESSAGE}))["run_id"]
    read(post(port, f"/drafts/{run_id}/answer", {"value": "reject", "by": "Bob"}))
    [run] = read(get(port, "/drafts"))
    assert (run["status"], answers(run)) == ("finished", [("reject", "Bob")])
    assert "Sent" not in capsys.readouterr().out


def test_the_second_of_two_decisions_is_refused_and_so_is_what_is_no_choice(approvals: tuple[int, Journal]):
    port, _ = approvals
    path = f"/drafts/{read(post(port, '/drafts', {'message': MESSAGE}))['run_id']}/answer"
    assert "the choices are" in read(post(port, path, {"value": "maybe", "by": "Ada"}), 409)["detail"]
    assert read(post(port, path, {"value": "approve", "by": ""}), 422)
    read(post(port, path, {"value": "approve", "by": "Ada"}))
    assert "no question is waiting" in read(post(port, path, {"value": "reject", "by": "Bob"}), 409)["detail"]
    [run] = read(get(port, "/drafts"))
    assert answers(run) == [("approve", "Ada")]


def test_a_draft_can_be_seen_and_approved_in_the_studio_as_well(
    approvals: tuple[int, Journal], capsys: pytest.CaptureFixture[str]
):
    port, _ = approvals
    run_id = read(post(port, "/drafts", {"message": MESSAGE}))["run_id"]
    assert [run["run_id"] for run in read(get(port, "/studio/api/runs"))["runs"]] == [run_id]
    read(post(port, f"/studio/api/runs/{run_id}/answer", {"value": "approve", "by": "Ada"}))
    with get(port, f"/studio/api/runs/{run_id}/events") as events:
        events.read()  # to the end of the run
    [run] = read(get(port, "/drafts"))
    assert (run["status"], answers(run)) == ("finished", [("approve", "Ada")])
    assert capsys.readouterr().out.endswith(f"Sent: {DRAFT}\n")


def test_an_approval_that_was_recorded_just_before_the_server_died_goes_on_at_resume(approvals: tuple[int, Journal]):
    port, journal = approvals
    run_id = read(post(port, "/drafts", {"message": MESSAGE}))["run_id"]
    journal.answer(run_id, "approve", by="Ada")
    read(post(port, f"/drafts/{run_id}/resume", {}))
    assert [run["status"] for run in read(get(port, "/drafts"))] == ["finished"]


def test_a_draft_that_failed_is_listed_with_its_error_and_can_be_tried_again(
    approvals: tuple[int, Journal], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(message: str) -> str:
        raise OSError("no model")

    port, _ = approvals
    with monkeypatch.context() as patch:
        patch.setattr(web_approval, "write_draft", fail)
        patch.setattr(web_approval.draft, "wait", 0)
        with post(port, "/drafts", {"message": MESSAGE}) as response:
            assert response.status == 500
    [failed] = read(get(port, "/drafts"))
    assert failed["status"] == "failed"
    assert "no model" in failed["error"]
    read(post(port, f"/drafts/{failed['run_id']}/resume", {}))
    assert [run["status"] for run in read(get(port, "/drafts"))] == ["paused"]


# Their pages

REFRESHED = 2000  # milliseconds after which the page of the approvals asks again


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab, in which nothing may go wrong unseen, but for a server that is away."""
    troubles: list[str] = []
    context = browser.new_context()
    context.set_default_timeout(BOUND * 1000)
    context.on("weberror", lambda error: troubles.append(str(error.error)))
    context.on("console", lambda message: troubles.append(message.text))
    yield context.new_page()
    context.close()
    assert {*troubles} <= {"Failed to load resource: net::ERR_CONNECTION_REFUSED"}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowModel]:
    pytest.importorskip("openai", reason=NEEDS)
    with slow_model() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{model.url}/v1")
        yield model


def send(tab: Any, text: str) -> None:
    """By the keyboard alone: the field has the focus, as soon as the page is there."""
    for part in ("#question:focus", "#send"):
        tab.locator(part).wait_for()
    tab.keyboard.type(text)
    tab.keyboard.press("Enter")


@contextlib.contextmanager
def shown(tab: Any, app: Any, watch: Watch | None = None) -> Iterator[None]:
    """The page of an application in a tab, as long as the application is served."""
    with served(app, watch) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        yield


def wait_for_line(tab: Any, kind: str, text: str) -> None:
    """Until the last line of this kind in the conversation is that text, no more and no less."""
    tab.wait_for_function(
        "([kind, text]) => [...document.querySelectorAll(`#log .${kind}`)].at(-1)?.textContent === text",
        arg=[kind, text],
    )


def test_the_page_of_the_chat_shows_each_token_as_it_comes_stops_and_asks_again(model: SlowModel, tab: Any):
    watch = Watch()
    with shown(tab, web_chat.app, watch):
        send(tab, "Why?")
        for word, text in (("It ", "It "), ("<b>is</b> ", "It <b>is</b> ")):
            model.words.put(word)
            wait_for_line(tab, "assistant", text)
        tab.get_by_role("button", name="Stop").click()
        assert watch.cancelled.get(timeout=BOUND) == "AsyncFlow/0:Answer"
        model.words.put(...)
        assert model.left.wait(BOUND)
        send(tab, "Go on.")
        wait_for_line(tab, "user", "Go on.")
        model.words.put("so.")
        model.words.put(None)
        wait_for_line(tab, "assistant", "so.")
        tab.get_by_role("button", name="Send").wait_for()
    sent = [model.requests.get(timeout=BOUND)["messages"][1:] for _ in range(2)]
    assert sent[0] == asked("Why?")
    assert sent[1] == [*asked("Why?"), {"role": "assistant", "content": "It <b>is</b> "}, *asked("Go on.")]


def test_the_page_of_the_chat_shows_an_error_and_gives_the_question_back(
    tab: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    pytest.importorskip("openai", reason=NEEDS)
    replies = iter([Raw("{}", status=401), "Because."])
    with model_server(lambda prompt: next(replies)) as model, shown(tab, web_chat.app):
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        send(tab, "Why?")
        wait_for_line(tab, "error", web_chat.ADVICE[401])
        assert tab.locator("#question").input_value() == "Why?"
        tab.keyboard.press("Enter")
        wait_for_line(tab, "assistant", "Because. ")
        assert tab.locator("#log p").all_text_contents() == ["Why?", "Because. "]
    assert [request["messages"][1:] for request in model.requests] == [asked("Why?")] * 2


def test_the_page_of_the_chat_says_that_its_server_is_gone(tab: Any):
    with shown(tab, web_chat.app):
        pass
    tab.get_by_text("What does yield do?").click()
    tab.get_by_role("alert").filter(has_text="start it, then send again").wait_for()
    assert tab.locator("#question").input_value() == "What does yield do?"


def test_a_chat_outlives_a_reload_until_a_new_one_is_begun(tab: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_chat, "PAUSE", 0)
    with shown(tab, web_chat.app):
        tab.locator("#question:focus").press_sequentially("What is zzyzx?")
        tab.keyboard.press("Shift+Enter")  # begins a line
        send(tab, "Tell me.")
        wait_for_line(tab, "assistant", "I know nothing about that. Ask me about Python.")
        tab.get_by_role("button", name="Send").wait_for()
        before = tab.locator("#log p").all_text_contents()
        tab.reload()
        assert tab.locator("#log p").all_text_contents() == before
        assert before[0] == "What is zzyzx?\nTell me."
        tab.get_by_role("button", name="New chat").click()
        tab.reload()
        assert tab.locator("#log p").count() == 0
        assert tab.locator("#examples").is_visible()


def test_escape_stops_an_answer_that_has_not_begun_and_gives_the_question_back(model: SlowModel, tab: Any):
    watch = Watch()
    with shown(tab, web_chat.app, watch):
        send(tab, "Why?")
        model.requests.get(timeout=BOUND)
        tab.keyboard.press("Escape")
        assert watch.cancelled.get(timeout=BOUND) == "AsyncFlow/0:Answer"
        tab.get_by_role("button", name="Send").wait_for()
        assert tab.locator("#question").input_value() == "Why?"
        assert tab.locator("#log p").count() == 0


def test_a_draft_is_approved_in_one_tab_and_seen_in_another_across_a_kill_of_the_server(tab: Any, tmp_path: Path):
    tab.context.clock.install()
    other = tab.context.new_page()
    with free_port() as port:
        with Program("web_approval", port, tmp_path) as before:
            before.wait_for("running on")
            for page in (tab, other):
                page.goto(f"http://127.0.0.1:{port}/")
            tab.get_by_role("button", name="Draft an answer").click()
            tab.get_by_text(DRAFT).wait_for()
            before.end(signal.SIGKILL)
            tab.context.clock.fast_forward(REFRESHED)
            tab.get_by_role("alert").filter(has_text="Start it again").wait_for()
        with Program("web_approval", port, tmp_path) as after:
            after.wait_for("running on")
            tab.get_by_label("Your name").fill("<i>Ada</i>")
            tab.get_by_role("button", name="approve").click()
            after.wait_for(f"Sent: {DRAFT}")
            tab.context.clock.fast_forward(REFRESHED)
            other.get_by_text("Answered “approve” by <i>Ada</i>").wait_for()
            assert other.locator("#notice").text_content() == ""


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_page_fits_four_hundred_pixels_and_is_dark_where_the_system_is(recipe: str, tab: Any, tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        app = web_chat.app if recipe == "web_chat" else web_approval.build_app(journal)
        tab.set_viewport_size({"width": 400, "height": 700})
        with shown(tab, app):
            assert tab.evaluate("document.documentElement.scrollWidth") == 400
            look = "getComputedStyle(document.documentElement).backgroundColor"
            colors = [tab.emulate_media(color_scheme=scheme) or tab.evaluate(look) for scheme in ("light", "dark")]
    assert colors == ["rgb(255, 255, 255)", "rgb(21, 24, 29)"]
