"""The studio, in a real browser: what a person sees and does, and that nothing of a run can do harm."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.dataflow import Dataflow, task
from pocketflow.hooks import emit
from pocketflow.journal import Journal
from tests.serve.flows import Ask, Count, Fail, Gate, Hold, Usage, Words, branches, chain, sync
from tests.serve.service import command
from tests.serve.studio import Served, Studio

PAGE = Path(pf.__file__).parent / "serve" / "page"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
Open = Callable[..., Studio]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a page, in a tab of the same window unless it is given options of its own; none may complain."""
    contexts: list[Any] = []
    studios: list[Studio] = []

    def open_page(served: Any, hash: str = "", **options: Any) -> Studio:
        if options or not contexts:
            contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        studios.append(Studio(contexts[-1].new_page(), served.url, hash))
        return studios[-1]

    yield open_page
    troubles = [trouble for studio in studios for trouble in studio.troubles]
    for context in contexts:
        context.close()
    assert troubles == []


def test_a_flow_is_started_from_its_form_and_watched_as_it_runs(opened: Open):
    gate = Gate()
    with Served({"words": chain(Usage(), Words(gate=gate))}) as served:
        studio = opened(served)
        studio.shows("#no-runs", re.compile("No runs yet"))
        studio.start('{"topic": "bees"}', "monday")
        studio.shows("#name", "monday")
        studio.node("Usage", "done")
        studio.node("Words", "running")
        studio.shows(".card pre", "to be or ")
        studio.says("#facts", "10 tokens in, 2 out")
        served.do(gate.open.set)
        studio.node("Words", "done")
        studio.shows(".card pre", "to be or not")
        studio.shows("#status", "✓ finished")


def test_a_mistake_in_json_is_pointed_at_and_what_was_written_is_kept(opened: Open):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served)
        studio.start('{"topic":\n  "bees" and}')
        studio.says("#new-error", "line 2 column 10")
        field = studio.one("#fields textarea")
        field.fill("[1]")
        studio.button("Start").click()
        studio.says("#new-error", "Write an object")
        field.fill('{"topic": "bees"}')
        studio.button("Start").click()
        studio.shows("#status", "✓ finished")
        studio.open_form()
        assert field.input_value() == '{"topic": "bees"}'


def test_numbers_reach_the_run_as_they_were_written(opened: Open):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served)
        studio.start('{"long": 12345678901234567890, "float": 1.0, "much": 1e999}')
        studio.says("#new-error", "1e999 is not a finite number")
        studio.one("#fields textarea").fill('{"long": 12345678901234567890, "float": 1.0}')
        studio.button("Start").click()
        studio.tab("Store")
        studio.shows("#status", "✓ finished")
        studio.shows("#values dd", ["12345678901234567890", "1.0", "to be or not"])
        studio.troubles[:] = [trouble for trouble in studio.troubles if "400" not in trouble]


def test_what_the_server_refuses_is_said_in_the_form(opened: Open):
    with Served({"words": chain(Words())}) as served:
        served.start("words", run_id="monday")
        studio = opened(served)
        studio.start("{}", "monday")
        studio.says("#new-error", "'monday'")
        studio.one("#run-name").fill("tuesday")
        studio.button("Start").click()
        studio.shows("#name", "tuesday")
        studio.troubles[:] = [trouble for trouble in studio.troubles if "409" not in trouble]


def test_a_form_says_what_the_flow_takes_and_when_nobody_answers(opened: Open):
    class Article(pf.AsyncFlow):
        """Writes about a topic, as in {"topic": "bees"}."""

    with Served({"article": Article(Words())}) as served:
        studio = opened(served)
        studio.says("#doc", "Writes about a topic")
        studio.open_form()
        studio.says("#new-doc", '{"topic": "bees"}')
    studio.button("Start").click()
    studio.says("#new-error", "The server does not answer.")
    studio.troubles[:] = [trouble for trouble in studio.troubles if "net::ERR_" not in trouble]


def test_the_form_of_a_dataflow_asks_for_its_inputs(opened: Open):
    @task
    def trip(city: str, days: int = 3, budget: float = 99.5, vegan: bool = False, extra: object = None) -> str:
        return repr([city, days, budget, vegan, extra])

    with Served({"trip": Dataflow(trip)}) as served:
        studio = opened(served)
        studio.open_form()
        studio.page.keyboard.press("Control+Enter")
        studio.shows("#new-error", "city: Fill this in.")
        form = studio.one("#fields")
        form.get_by_label("city").fill("Rome")
        form.get_by_label("days").fill("2.5")
        studio.button("Start").click()
        studio.shows("#new-error", "days: Write a whole number.")
        form.get_by_label("days").fill("4")
        form.get_by_label("vegan").check()
        form.get_by_label("extra").fill('{"a": [1]}')
        studio.button("Start").click()
        studio.shows(".card pre", "['Rome', 4, 99.5, True, {'a': [1]}]")


def test_branches_fill_a_card_each_at_once(opened: Open):
    gate = Gate()
    flow = branches(Words("the facts are", gate, name="Facts"), Words("a story of", gate, name="Stories"))
    with Served({"article": flow}) as served:
        studio = opened(served, f"#run={served.start('article')}")
        studio.has(".card[data-state=running]", 2)
        assert studio.one(".card header b").all_text_contents() == ["Facts", "Stories"]
        assert studio.one(".card pre").all_text_contents() == ["the facts ", "a story "]
        left, right = (studio.one(".card").nth(n).bounding_box() for n in (0, 1))
        assert left["x"] + left["width"] < right["x"]
        served.do(gate.open.set)
        studio.has(".card[data-state=done]", 2)


def test_nothing_moves_when_a_node_begins_to_speak_or_a_person_is_asked(opened: Open):
    first, second = Gate(), Gate()
    with Served({"words": chain(Words(gate=first), Words(gate=second, name="More"), Ask())}) as served:
        studio = opened(served, f"#run={served.start('words')}")
        studio.shows(".card pre", "to be or ")
        card, tabs = studio.one(".card").first.bounding_box(), studio.one("#tabs").bounding_box()
        served.do(first.open.set)
        studio.has(".card", 2)
        assert studio.one(".card").first.bounding_box() == card
        served.do(second.open.set)
        studio.has("#questions b")
        assert studio.one("#tabs").bounding_box() == tabs
        assert studio.one(".card").first.bounding_box() == card


class Report(pf.AsyncNode):
    """Says how far it is, and puts nothing out."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    async def exec_async(self, prep_res: Any) -> None:
        await emit({"type": "status", "text": "reading page 3"})
        await self.gate.passed()


def test_what_a_node_says_of_its_work_is_shown_in_a_line_and_to_a_page_that_comes_later(opened: Open):
    gate = Gate()
    with Served({"report": chain(Report(gate))}) as served:
        run_id = served.start("report")
        served.do(gate.reached.wait)
        for _ in range(2):
            studio = opened(served, f"#run={run_id}")
            studio.shows("#said li", "Report · reading page 3")
        served.do(gate.open.set)


class Say(pf.AsyncNode):
    def __init__(self, what: Any, name: str) -> None:
        super().__init__()
        self.what, self.name = what, name

    async def exec_async(self, prep_res: Any) -> Any:
        return self.what


def test_a_list_and_an_object_are_shown_in_rows_and_a_recorded_stream_as_its_text(opened: Open, tmp_path: Path):
    flow = chain(Say(["one\ntwo", [3]], "Pages"), Say({"title": "one\ntwo", "pages": [3]}, "Facts"), Words())
    with Served({"say": flow}, tmp_path / "runs.db") as served:
        studio = opened(served, f"#run={served.start('say', run_id='monday')}")
        studio.shows("#status", "✓ finished")
        studio.page.close()
    with Served({"say": flow}, tmp_path / "runs.db") as served:
        studio = opened(served, "#run=monday")
        studio.shows(".card b", ["Pages", "Facts", "Words"])
        texts = studio.one(".card pre").all_text_contents()
        assert texts == ["• one\ntwo\n• [3]", "title: one\ntwo\npages: [3]", "to be or not"]


def test_what_is_nested_is_shown_in_rows_too_with_all_digits_and_without_escapes(opened: Open):
    books = [{"title": 'Why "bees"?', "text": "one\n\ttwo"}, {"title": "]", "pages": [1.0, 12345678901234567890]}]
    with Served({"say": chain(Say({"books": books, "none": {}}, "Books"))}) as served:
        studio = opened(served, f"#run={served.start('say')}")
        studio.shows("#status", "✓ finished")
        assert studio.one(".card pre").text_content().splitlines() == [
            "books: ",
            '  • title: Why "bees"?',
            "    text: one",
            "    \ttwo",
            "  • title: ]",
            "    pages: [1.0, 12345678901234567890]",
            "none: {}",
        ]


def test_a_graph_without_room_scrolls_to_what_runs_and_to_what_is_looked_at(opened: Open):
    gate = Gate()
    with Served({"long": chain(*(Count(name=f"Step{n}") for n in range(50)), Words(gate=gate))}) as served:
        studio = opened(served, f"#run={served.start('long')}")
        studio.sees("[data-id$='/Words']")
        studio.shows("#where", re.compile(r"Now · \d{2,} steps"))
        studio.one("#moment").focus()
        studio.page.keyboard.press("Home")
        for step in range(1, 10):
            studio.says("#where", f"{step}/")
            if "Step0" in studio.one("#where").text_content():
                break
            studio.page.keyboard.press("ArrowRight")
        studio.sees("[data-id$='/Step0']")
        studio.button("Now").click()
        served.do(gate.open.set)
        studio.shows("#status", "✓ finished")


def test_a_run_is_stopped_and_resumed(opened: Open):
    gate = Gate()
    with Served({"words": chain(Count(), Words(gate=gate))}) as served:
        studio = opened(served, f"#run={served.start('words')}")
        studio.node("Words", "running")
        studio.button("Stop").click()
        studio.shows("#status", "■ interrupted")
        studio.node("Words", "stopped")
        studio.has(".card[data-state=stopped]")
        studio.says("#error", "it was stopped")
        studio.says("#fault", "Resume goes on from there")
        served.do(gate.open.set)
        studio.button("Resume").click()
        studio.shows("#status", "✓ finished")
        studio.node("Count", "restored")


def test_while_one_run_stops_another_is_answered(opened: Open):
    hold = Hold()
    with Served({"hold": sync(hold, pf.Node()), "ask": chain(Ask(choices=["yes"]))}) as served:
        served.start("ask", run_id="asking")
        studio = opened(served, f"#run={served.start('hold', run_id='holding')}")
        try:
            studio.node("Hold", "running")
            studio.button("Stop").click()
            studio.shows("#status", "■ stopping")
            assert studio.button("Stop").is_disabled()
            studio.one(".run[title=asking]").click()
            studio.button("yes").click()
            studio.shows("#status", "✓ finished")
        finally:
            hold.open.set()
        studio.one(".run[title=holding]").click()
        studio.shows("#status", "■ interrupted")


class Flaky(pf.AsyncNode):
    """Fails once, after the first words."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(max_retries=2)
        self.gate = gate

    async def exec_async(self, prep_res: Any) -> Any:
        yield "Bees are"
        if not self.gate.reached.is_set():
            await self.gate.passed()
            raise ConnectionError
        yield " insects."


def test_a_retry_begins_its_output_anew_and_is_counted_at_its_node(opened: Open):
    gate = Gate()
    with Served({"flaky": chain(Flaky(gate))}) as served:
        studio = opened(served, f"#run={served.start('flaky')}")
        studio.shows(".card pre", "Bees are")
        served.do(gate.open.set)
        studio.shows("#status", "✓ finished")
        studio.shows(".card pre", "Bees are insects.")
        studio.has(".badge >> text=⟳1")


def test_a_question_is_answered_in_one_tab_and_gone_in_another(opened: Open):
    with Served({"ask": chain(Ask(choices=["yes", 3, True]))}) as served:
        first = opened(served)
        first.start("{}", "monday")
        first.shows("#questions b", "Ask?")
        second = opened(served, "#run=monday")
        second.shows(".answers button", ["yes", "3", "true"])
        second.says(".run", "asks you")
        first.button("true").click()
        second.shows("#status", "✓ finished")
        second.has("#questions b", 0)
        second.tab("Store")
        second.shows("#values dd", "true")


def test_who_answers_says_a_name_once_and_the_history_has_it(opened: Open):
    with Served({"ask": chain(Ask(choices=["yes"]))}) as served:
        for number, run_id in enumerate(["monday", "tuesday"]):
            served.start("ask", run_id=run_id)
            studio = opened(served, f"#run={run_id}")
            studio.has("#questions button")
            if not number:
                studio.one("#by").fill("Ada")
            studio.button("yes").click()
            studio.shows("#status", "✓ finished")
            studio.has("#by", 0)
            studio.one("[data-id$='/Ask']").click()
            studio.says("#steps", '"yes" by Ada')


def test_an_answer_in_words_is_kept_while_it_is_written(opened: Open):
    with Served({"ask": chain(Ask())}) as served:
        studio = opened(served, f"#run={served.start('ask')}")
        field = studio.page.get_by_label("Ask?")
        studio.has("#questions input")  # keys go to the page, where a field that is not shown yet has no focus
        field.press_sequentially("half an ")
        served.start("ask", run_id="another")
        studio.has(".run[title=another]")
        field.press_sequentially("answer")
        field.press("Enter")
        studio.tab("Store")
        studio.shows("#values dd", "half an answer")


def test_a_failure_says_what_went_wrong_and_where_and_can_be_resumed(opened: Open):
    with Served({"fail": chain(Words(), Fail())}) as served:
        studio = opened(served, f"#run={served.start('fail')}")
        studio.says("#error", "LookupError: nothing there\nin Fail")
        studio.node("Words", "done")
        studio.node("Fail", "failed")
        studio.button("Resume").click()
        studio.node("Words", "restored")
        studio.shows("#status", "✕ failed")


def test_ten_tabs_are_served_as_those_behind_let_go_of_their_connection(opened: Open):
    gate = Gate()
    with Served({"words": chain(Words(gate=gate))}) as served:
        run_id = served.start("words")
        studios: list[Studio] = []
        for _ in range(10):
            for other in studios[-1:]:
                other.hide(True)
            studios.append(opened(served, f"#run={run_id}"))
            studios[-1].shows(".card pre", "to be or ")
        assert served.do(lambda: served.runs.watching) <= 2  # one of them may be leaving
        served.do(gate.open.set)
        studios[9].shows(".card pre", "to be or not")
        studios[9].hide(True)
        studios[0].hide(False)
        studios[0].shows(".card pre", "to be or not")


def test_an_output_is_followed_to_its_end_unless_one_scrolls_up(opened: Open):
    gate = Gate()
    long = f"{'word ' * 2000}end"
    with Served({"words": branches(Words(long, gate, "One"), Words(long, gate, "Two"))}) as served:
        studio = opened(served, f"#run={served.start('words')}")
        studio.says(".card >> nth=0 >> pre", "word " * 1999)
        studio.says(".card >> nth=1 >> pre", "word " * 1999)
        studio.one(".card pre").first.evaluate("body => { body.scrollTop = 0; }")
        served.do(gate.open.set)
        studio.says(".card >> nth=0 >> pre", "end")
        studio.says(".card >> nth=1 >> pre", "end")
        at = studio.one(".card pre").evaluate_all(
            "all => all.map(it => [it.scrollTop, it.scrollHeight - it.clientHeight])"
        )
        assert at[0][0] == 0
        assert at[1][0] == pytest.approx(at[1][1], abs=2)


@pytest.mark.parametrize("width", [1280, 400])
def test_an_output_that_stands_alone_is_followed_too(opened: Open, width: int):
    gate = Gate()
    with Served({"words": chain(Words(f"{'word ' * 2000}end", gate))}) as served:
        studio = opened(served, f"#run={served.start('words')}", viewport={"width": width, "height": 800})
        studio.says(".card pre", "word " * 1999)
        served.do(gate.open.set)
        studio.says(".card pre", "end")
        body = studio.one(".card pre")
        at, end = body.evaluate("it => [it.scrollTop, it.scrollHeight - it.clientHeight]")
        assert 0 < at == pytest.approx(end, abs=2)
        studio.sees("#history")
        assert body.bounding_box()["y"] + body.bounding_box()["height"] < 800


def test_a_reload_shows_the_same_run_and_view(opened: Open):
    gate = Gate()
    with Served({"words": chain(Words(gate=gate))}) as served:
        studio = opened(served)
        studio.start("{}", "monday")
        studio.tab("Store")
        studio.has("#store")
        studio.page.reload()
        studio.shows("#name", "monday")
        studio.has("#store")
        studio.tab("Output")
        studio.shows(".card pre", "to be or ")
        served.do(gate.open.set)
        studio.shows(".card pre", "to be or not")
        studio.page.go_back()
        studio.has("#welcome")


GATED = """
import asyncio, pathlib
from pocketflow import AsyncFlow, AsyncNode

class First(AsyncNode):
    async def exec_async(self, prep_res):
        return "done once"

class Second(AsyncNode):
    async def exec_async(self, prep_res):
        yield "waiting "
        while not pathlib.Path("open").exists():
            await asyncio.sleep(0.02)
        yield "no more"

first = First()
first >> Second()
flow = AsyncFlow(first)
"""


def test_a_page_outlives_its_server(opened: Open, tmp_path: Path):
    (tmp_path / "gated.py").write_text(GATED)
    words = ["gated.py:flow", "--journal", "runs.db"]
    with command(tmp_path, *words) as served:
        studio = opened(served)
        studio.start("{}", "monday")
        studio.node("Second", "running")
        served.ended(signal.SIGKILL)
    studio.has("#offline")
    studio.button("Stop").click()
    studio.says("#notice", "The server does not answer.")
    studio.page.evaluate("() => { window.isSamePage = true; }")
    with command(tmp_path, *words, "--port", served.port):
        studio.has("#offline", 0)
        studio.has("#notice", 0)
        studio.shows("#status", "■ interrupted")
        studio.says("#error", "or its process has ended")
        studio.node("First", "done")
        (tmp_path / "open").touch()
        studio.button("Resume").click()
        studio.shows("#status", "✓ finished")
        studio.node("First", "restored")
        assert studio.page.evaluate("() => window.isSamePage")
    studio.troubles[:] = [trouble for trouble in studio.troubles if "net::ERR_" not in trouble]


class Change(pf.Node):
    """Adds, changes and removes."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["text"] = "new"
        shared["more"] = [1, 2]
        del shared["gone"]


def test_the_past_of_a_run_shows_its_graph_its_store_and_what_changed(opened: Open):
    with Served({"change": chain(Words(), Change(), Words(name="Last"))}) as served:
        run_id = served.start("change", {"text": "old", "gone": 1, "same": 0})
        studio = opened(served, f"#run={run_id}&tab=store")
        studio.shows("#status", "✓ finished")
        count = len(served.do(served.runs.history, run_id))
        studio.says("#where", f"Now · {count} steps")
        for step in range(count, 0, -1):
            studio.page.keyboard.press("ArrowLeft")
            studio.says("#where", f"{step}/{count}")
            if "Change" in studio.one("#where").text_content():
                break
        studio.says("#store-note", "Change · 3 values changed")
        studio.shows("#status", f"As of step {step}")
        assert studio.value("text").inner_text().split() == ["text", "changed", "new"]
        assert studio.value("more").inner_text().split() == ["more", "added", "[", "1,", "2", "]"]
        assert studio.value("gone").inner_text().split() == ["gone", "removed"]
        assert studio.value("same").inner_text().split() == ["same", "0"]
        studio.has("[data-id$='/Change'][data-state=done][data-now]")
        studio.has("[data-id$='/Last'][data-state]", 0)
        studio.one("#back").click()
        studio.shows("#values [data-state]", [])
        studio.button("Now").click()
        studio.node("Last", "done")
        studio.value("Last").wait_for()
        studio.shows("#status", "✓ finished")


def test_what_is_no_step_is_named_by_what_happened(opened: Open):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served, f"#run={served.start('words')}&tab=store")
        studio.shows("#status", "✓ finished")
        studio.says("#where", "Now · 7 steps")
        studio.one("#moment").focus()
        for key, title in {"Home": "created", "ArrowRight": "created", "ArrowRight ": "running"}.items():
            studio.page.keyboard.press(key.strip())
            studio.says("#where", title)
        studio.shows("#store-note", "After step 3 · running")


class Letter(pf.Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["letters"] = ['Dear "you",\nyours\\n']


def test_texts_inside_of_lists_are_shown_with_their_lines(opened: Open):
    with Served({"letter": chain(Letter())}) as served:
        studio = opened(served, f"#run={served.start('letter')}&tab=store")
        studio.shows("#values dd", '[\n "Dear "you",\nyours\\n"\n]')


def test_a_fork_goes_on_from_a_chosen_visit(opened: Open):
    first, second = Count(name="First"), Count(name="Second")
    with Served({"count": chain(first, second)}) as served:
        studio = opened(served, f"#run={served.start('count', run_id='monday')}")
        studio.shows("#status", "✓ finished")
        studio.one("[data-id$='/First']").click()
        studio.one("#steps button", has_text="First").last.click()
        studio.button("Fork here").click()
        studio.shows("#origin", "fork of monday")
        studio.shows("#status", "✓ finished")
        count = len(served.do(served.runs.history, studio.one("#name").text_content()))
        studio.shows("#where", f"Now · {count} steps")
        studio.one("#back").click()
        studio.shows("#status", f"As of step {count}")
        assert studio.button("Fork here").is_disabled()  # as the flow ends here
        assert (first.counted, second.counted) == (["First"], ["Second", "Second"])
        studio.one("#origin").click()
        studio.shows("#name", "monday")


def test_a_run_is_deleted_after_a_question_and_not_without(opened: Open):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served, f"#run={served.start('words', run_id='monday')}")
        studio.shows("#status", "✓ finished")
        studio.one(".run").hover()
        for studio.is_sure in (False, True):
            studio.has(".run")
            studio.one(".remove").click()
        studio.has(".run", 0)
        assert studio.questions == ["Delete monday? What was recorded of it will be gone for good."] * 2
        studio.shows("#doc", "There is no run monday.")


def test_nothing_of_a_run_becomes_markup(opened: Open):
    gate = Gate()

    class Hostile(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> str:
            await gate.passed()
            emit({"type": HOSTILE, HOSTILE: HOSTILE, "output": "mine", "run": {"status": "failed"}, "nodes": 1})
            return HOSTILE

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared[HOSTILE] = HOSTILE
            return HOSTILE

    node, ask = Hostile(), Ask(choices=[HOSTILE])
    node.name = ask.name = HOSTILE
    node - HOSTILE >> ask
    flow = pf.AsyncFlow(node)
    with Served({HOSTILE: flow}) as served:
        slug = next(iter(served.runs.flows))
        studio = opened(served, f"#run={served.start(slug, {'__proto__': HOSTILE})}")
        studio.has("[data-id][data-state=running]")
        served.do(gate.open.set)
        studio.shows("#questions b", f"{HOSTILE}?")
        studio.shows(".card pre", HOSTILE)
        assert studio.one(".pf-node > text").all_text_contents()[0].startswith("</script>")
        studio.tab("Store")
        studio.value("__proto__").wait_for()
        studio.value(HOSTILE).wait_for()
        studio.tab("Events")
        studio.says("#lines", f"{HOSTILE} {HOSTILE} · output mine")
        studio.button(HOSTILE).click()
        studio.shows("#status", "✓ finished")
        assert studio.one("script").count() == 1
        assert studio.one("img").count() == 0


def test_marks_that_turn_the_direction_of_writing_are_seen_and_do_not_act(opened: Open):
    turned = "\u202eyes\u2066"
    with Served({"ask": chain(Words(turned), Ask(choices=[turned]))}) as served:
        studio = opened(served, f"#run={served.start('ask', {turned: turned})}")
        studio.shows(".card pre", r"\u202eyes\u2066")
        studio.shows(".answers button", r"\u202eyes\u2066")
        studio.one(".answers button").click()
        studio.shows("#status", "✓ finished")
        studio.tab("Store")
        studio.value(r"\u202eyes\u2066").wait_for()


def test_runs_of_elsewhere_are_shown_whatever_their_names(opened: Open, tmp_path: Path):
    run_id = "a/b?c#d%2F " + HOSTILE
    with Journal(tmp_path / "runs.db") as journal:
        journal.run(pf.Flow(Change()), {"gone": 1}, run_id=run_id)
    with Served({"words": chain(Words())}, tmp_path / "runs.db") as served:
        studio = opened(served)
        studio.one(".run").click()
        studio.shows("#name", run_id)
        studio.says("#graph", "is not served here")
        studio.tab("Store")
        studio.value("more").wait_for()
        studio.page.goto(f"{served.url}#run=nobody")
        studio.shows("#doc", "There is no run nobody.")


def test_a_flow_with_findings_says_them_and_cannot_be_started(opened: Open):
    class Lost(pf.Node):
        def prepare(self, shared: Any) -> None: ...

    with Served({"lost": pf.Flow(Lost())}) as served:
        studio = opened(served)
        studio.says("#findings", "prepare")
        assert studio.one("#new").is_disabled()
        studio.page.keyboard.press("n")
        studio.has("dialog", 0)
        studio.page.goto(f"{served.url}#run=nobody")
        studio.shows("#doc", "There is no run nobody.")
        studio.shows("#findings li", [])


@pytest.mark.parametrize("width", [768, 820, 900])
def test_a_tablet_has_room_for_the_slider_and_the_tabs(opened: Open, width: int):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served, f"#run={served.start('words')}", viewport={"width": width, "height": 1024})
        studio.shows("#status", "✓ finished")
        assert studio.one("#moment").bounding_box()["width"] > 300
        for tab in ["Graph", "Output", "Store", "Timeline", "Events"]:
            studio.tab(tab)
            studio.sees(f"#tab-{tab.lower()}")
        assert studio.page.evaluate("() => document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(opened: Open, scheme: str):
    gate = Gate()
    flow = chain(Words("w" * 500, gate, name="Words" * 20), Ask())
    with Served({"words": flow}) as served:
        studio = opened(served, viewport={"width": 400, "height": 800}, color_scheme=scheme)
        width = "() => document.documentElement.scrollWidth"
        studio.one("#begin").wait_for()
        assert studio.page.evaluate(width) == 400
        studio.start('{"key": "value"}', "a-long-name-" * 10)
        served.do(gate.open.set)
        studio.has("#questions b")
        for tab in ["Graph", "Store", "Timeline", "Events", "Output"]:
            studio.tab(tab)
            studio.has(f"#{tab.lower()}")
            assert studio.page.evaluate(width) == 400
        assert studio.one("#rail").is_hidden()
        studio.one("#open-rail").click()
        studio.one(".run").click()
        assert studio.page.evaluate(width) == 400
        paper = studio.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) > 600) == (scheme == "light")


def test_before_the_history_is_read_a_step_back_leads_nowhere(opened: Open):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served)
        studio.page.route("**/history*", lambda route: None)  # which is never answered
        studio.start("{}", "one")
        studio.shows("#status", "✓ finished")
        studio.page.locator("body").click(position={"x": 600, "y": 20})
        studio.page.keyboard.press("ArrowLeft")
        studio.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        assert studio.one("#where").inner_text() == "Now · 0 steps"


def test_all_can_be_done_with_the_keyboard(opened: Open):
    with Served({"words": chain(Words(), Count())}) as served:
        studio = opened(served)
        press = studio.page.keyboard.press
        for name in ("first", "second"):
            studio.start("{}", name)
            studio.shows("#name", name)
            studio.shows("#status", "✓ finished")
        studio.has(".run:not([tabindex='-1'])")  # the Tab key stops at one run, whatever their number
        press("j")
        studio.shows("#name", "first")
        press("k")
        studio.shows("#name", "second")
        press("ArrowDown")
        studio.shows("#name", "first")
        for key, pane in {"2": "store", "3": "timeline", "4": "events", "1": "output"}.items():
            press(key)
            studio.has(f"#{pane}")
        studio.page.locator("body").click(position={"x": 600, "y": 20})
        studio.says("#where", "Now · 9 steps")
        press("ArrowLeft")
        studio.says("#where", "9/9")
        press("Escape")
        studio.says("#where", "Now")
        press("?")
        studio.says("#key-list", "Back to now")
        press("Escape")
        studio.one("[data-id$='/Count']").focus()
        press("Enter")
        studio.shows("#only-name", "Count")
        studio.has(".card")
        press("n")
        studio.has("#new-run")
        press("Escape")
        studio.has("dialog", 0)


def test_a_click_leaves_the_arrow_keys_to_the_history(opened: Open):
    with Served({"words": chain(Words()), "ask": chain(Ask())}) as served:
        for name in ("first", "second"):
            served.start("words", run_id=name)
        studio = opened(served, "#run=second")
        studio.shows("#status", "✓ finished")
        studio.one(".run[title=first]").click()
        for tab in ("Store", "Events"):
            studio.tab(tab)
            studio.says("#where", "Now · 7 steps")
            studio.page.keyboard.press("ArrowLeft")
            studio.shows("#name", "first")
            studio.has(f"#{tab.lower()}")
            studio.says("#where", "7/7")
            studio.page.keyboard.press("Escape")
        studio.one("#flows").select_option("ask")
        studio.page.keyboard.press("n")
        studio.shows("#new-title", "New run of ask")
        studio.page.keyboard.press("Control+Enter")
        studio.page.get_by_label("Ask?").fill("yes")
        studio.page.keyboard.press("Enter")
        studio.shows("#status", "✓ finished")
        assert studio.page.evaluate("() => document.activeElement.id") == "name"


def test_runs_are_found_by_words_of_whatever_is_known_of_them(opened: Open):
    with Served({"words": chain(Words()), "fail": chain(Fail())}) as served:
        for flow, run_id in {"words": "monday", "fail": "tuesday"}.items():
            served.start(flow, run_id=run_id)
        studio = opened(served)
        studio.has(".run", 2)
        for words, found in {
            "TUES": ["tuesday"],
            "nothing there": ["tuesday"],
            "finished mon": ["monday"],
            "x": [],
        }.items():
            studio.one("#filter").fill(words)
            studio.shows(".run span.cut", found)
        studio.one("#filter").fill("mon")
        studio.has(".run")
        studio.page.keyboard.press("Tab")
        studio.page.keyboard.press("Enter")
        studio.shows("#name", "monday")


def test_a_page_without_a_run_leads_to_those_that_ask(opened: Open):
    with Served({"ask": chain(Ask(choices=["yes"]))}) as served:
        studio = opened(served, viewport={"width": 400, "height": 800})
        served.start("ask", run_id="monday")
        studio.button("monday asks you").click()
        studio.button("yes").click()
        studio.shows("#status", "✓ finished")


def test_the_timeline_is_shut_off_in_a_frame(opened: Open):
    with Served({"words": chain(Words())}) as served:
        studio = opened(served, f"#run={served.start('words')}&tab=timeline")
        studio.shows("#status", "✓ finished")
        frame = studio.page.frame_locator("iframe")
        frame.locator("h1", has_text="AsyncFlow").wait_for()
        assert frame.locator("#graph").is_hidden()  # as it stands beside it
        assert frame.locator("body").evaluate("() => window.origin") == "null"


def test_a_token_is_asked_for_once(opened: Open):
    with Served({"words": chain(Words())}, token="secret") as served:
        studio = opened(served)
        studio.page.get_by_label("token").fill("secret")
        studio.button("Open").click()
        studio.shows("#name", "words")
        assert "secret" not in studio.page.url
        studio.start()
        studio.shows("#status", "✓ finished")
        studio.tab("Timeline")
        studio.page.frame_locator("iframe").locator("h1", has_text="AsyncFlow").wait_for()
        studio.troubles[:] = [trouble for trouble in studio.troubles if "401" not in trouble]


class Chatter(pf.AsyncParallelBatchNode):
    """Ten thousand chunks, of two hundred items, when the gate is open."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    async def prep_async(self, shared: Any) -> list[int]:
        await self.gate.passed()
        return list(range(200))

    async def exec_async(self, item: int) -> Any:
        for n in range(50):
            yield f"{item}.{n} "


def test_ten_thousand_events_are_drawn_as_so_much_as_one_can_read(opened: Open):
    gate = Gate()
    with Served({"chatter": chain(Chatter(gate))}) as served:
        studio = opened(served, f"#run={served.start('chatter')}")
        studio.node("Chatter", "running")
        served.do(gate.open.set)
        studio.shows("#status", "✓ finished")
        studio.shows(".card >> nth=-1 >> pre", "".join(f"199.{n} " for n in range(50)))
        assert studio.one(".card").count() == 200
        studio.says("#more-cards", "The last 200 are shown")
        studio.tab("Events")
        studio.has("#lines li", 500)
        studio.says("#event-count", "earlier events not shown.")


def test_the_page_is_light():
    assert sum(file.stat().st_size for file in PAGE.iterdir()) < 60_000
