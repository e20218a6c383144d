"""The page of a trace, in a real browser: what a person sees, and that nothing of the run can do harm."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import emit
from pocketflow.trace import Span, Trace


def page_in(browser: Any, width: int = 1280, scheme: str = "light", **options: Any) -> Any:
    """A tab; one serves all that need no options of their own, as a new one takes longer than what is shown in it."""
    context = browser.new_context(**options) if options or not browser.contexts else browser.contexts[0]
    page = context.pages[0] if context.pages else context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(media="screen", color_scheme=scheme)
    page.mouse.move(0, 0)
    return page


class Opened:
    """A saved trace in a tab; what it logs or asks of the network is kept."""

    def __init__(self, browser: Any, trace: Trace, folder: Path, **options: Any) -> None:
        trace.save(folder / "run.html")
        self.page = page_in(browser, **options)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.troubles.append(request.url))
        self.page.goto((folder / "run.html").as_uri())
        self.troubles.remove((folder / "run.html").as_uri())
        self.settle()

    def settle(self) -> None:
        """Until what has changed is drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def view(self) -> tuple[float, float]:
        self.settle()
        view = self.page.evaluate("() => view")
        return view["from"], view["to"]

    def place_of(self, path_end: str) -> tuple[float, float]:
        """The middle of the bar whose path ends so, in the window."""
        self.settle()
        x, y = self.page.evaluate(
            """end => {
              const span = run.start.findIndex((_, span) => path(span).endsWith(end));
              const track = tracks.find(track => track.spans.includes(span));
              track.canvas.scrollIntoView({ block: "nearest" });
              const box = track.canvas.getBoundingClientRect();
              const lane = track.lanes.findIndex(spans => spans.includes(span));
              const middle = toX(run.start[span] + run.time[span] / 2);
              return [box.left + middle, box.top + GAP + (lane + 0.4) * laneHeight(track)];
            }""",
            path_end,
        )
        return x, y

    def point_at(self, path_end: str) -> None:
        self.page.mouse.move(*self.place_of(path_end))

    def color_of(self, path_end: str, part: float = 0.1) -> list[int]:
        """Of the bar whose path ends so, at this part of its length."""
        self.settle()
        return self.page.evaluate(  # type: ignore[no-any-return]  # of any JavaScript
            """([end, part]) => {
              const span = run.start.findIndex((_, span) => path(span).endsWith(end));
              const track = tracks.find(track => track.spans.includes(span));
              const lane = track.lanes.findIndex(spans => spans.includes(span)), high = laneHeight(track);
              const copy = new OffscreenCanvas(1, 1).getContext("2d");
              const [x, y] = [toX(run.start[span] + run.time[span] * part), GAP + lane * high + high / 3];
              copy.drawImage(track.canvas, x * devicePixelRatio, y * devicePixelRatio, 1, 1, 0, 0, 1, 1);
              return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
            }""",
            [path_end, part],
        )

    def facts(self) -> dict[str, str]:
        """What the card says."""
        card = self.page.locator("#card")
        return dict(zip(card.locator("dt").all_text_contents(), card.locator("dd").all_text_contents(), strict=True))


class Call(pf.AsyncParallelBatchNode):
    """Item 1 fails at first; item 3 fails for good, with what it is told to say."""

    says = "bad"

    async def prep_async(self, shared: Any) -> Any:
        return range(4)

    async def exec_async(self, item: int) -> None:
        await asyncio.sleep(0.02)
        if item == 1 and self.cur_retry == 0:
            raise TimeoutError("busy")
        if item == 3 and self.cur_retry == 1:
            raise ValueError(self.says)
        if item == 3:
            raise TimeoutError("busy")


class Fetch(pf.Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        return "found"


def failed_run(name: str = "Call", says: str = "bad") -> Trace:
    call, fetch = Call(max_retries=2, wait=0.05), Fetch()
    call.name, call.says = name, says
    fetch - "found" >> call
    with ThreadPoolExecutor(1) as thread:  # in the main one, the loop of playwright runs
        return thread.submit(traced, pf.AsyncFlow(fetch)).result()


def traced(flow: pf.AsyncFlow) -> Trace:
    with Trace() as trace, suppress(ValueError):
        asyncio.run(flow.run_async({}))
    return trace


def steps_in_a_row(number: int) -> Trace:
    trace = Trace(clock=lambda: 1.0)
    flow = Span(None, "flow", "Flow", "Flow", 0.0, 1.0, "done")
    spans = (Span(flow, "node", f"N{n}", f"Flow/{n}:N{n}", n / number, (n + 1) / number) for n in range(number))
    trace.spans = [flow, *spans]
    return trace


def many_steps(count: int) -> Trace:
    """Forty lanes of steps of a millisecond, in a trace of which the clock has stopped."""
    trace = Trace(clock=lambda: count / 40 / 1000 + 1)
    flow = Span(None, "node", "Call", "Call", 0.0, count / 40 / 1000, "done")
    items = [
        Span(flow, "exec", "Call", f"Call/exec[{n}]", n // 40 / 1000, (n // 40 + 1) / 1000, "done")
        for n in range(count)
    ]
    trace.spans = [flow, *items]
    return trace


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    opened = Opened(browser, failed_run(), tmp_path)
    yield opened
    assert opened.troubles == []


def test_the_head_says_how_it_ended(opened: Opened):
    assert opened.page.title() == "AsyncFlow"
    assert opened.page.text_content("#status") == "failed"
    summary = opened.page.text_content("#summary") or ""
    assert re.fullmatch(r".+ ms ?2 visits4 items2 retries1 failure", summary)


def test_a_run_of_one_visit_is_one_visit(browser: Any, tmp_path: Path):
    with Trace() as trace:
        Fetch().run({})
    opened = Opened(browser, trace, tmp_path)
    assert (opened.page.text_content("#summary") or "").endswith("1 visit")
    assert opened.page.text_content("#status") == "done"
    assert opened.page.locator("#failures button").count() == 0


def test_the_failure_stands_at_the_top_with_its_notes_and_a_click_finds_it(opened: Opened):
    failure = opened.page.locator("#failures button")
    assert (failure.text_content() or "").startswith("Call[3] failedValueError('bad')")
    assert "item 3: 3" in (failure.text_content() or "")
    failure.click()
    facts = opened.facts()
    assert (facts["path"], facts["error"], facts["attempts"]) == ("AsyncFlow/1:Call/exec[3]", "ValueError('bad')", "2")
    assert opened.page.evaluate("() => path(selected)") == "AsyncFlow/1:Call/exec[3]"


def test_the_legend_has_what_occurs(opened: Opened):
    assert opened.page.locator("#keys > span").all_text_contents() == ["exec and prep", "failed", "retry and wait"]


def test_the_legend_has_nothing_else(browser: Any, tmp_path: Path):
    with Trace() as trace:
        Fetch().run({})
    fine = Opened(browser, trace, tmp_path)
    assert fine.page.locator("#keys > span").all_text_contents() == ["exec and prep"]


def test_tracks_bear_whole_names(opened: Opened):
    assert opened.page.locator(".track > button span").all_text_contents() == ["AsyncFlow", "Fetch", "Call", "4 items"]
    cut = (
        "() => [...document.querySelectorAll('.track > button span')].filter(s => s.scrollWidth > s.clientWidth).length"
    )
    assert opened.page.evaluate(cut) == 0


def test_the_mouse_over_a_bar_says_what_it_is(opened: Opened):
    opened.point_at("exec[3]")
    tip = opened.page.locator("#tip")
    assert tip.is_visible()
    assert re.fullmatch(r"Call\[3\].+ ms, failedValueError\('bad'\)", tip.text_content() or "")
    opened.page.mouse.move(5, 5)
    assert tip.is_hidden()


def test_a_click_on_a_bar_opens_its_card_and_escape_closes_it(opened: Opened):
    opened.page.mouse.click(*opened.place_of("exec[1]"))
    assert opened.facts()["tried again"] == "after 50.0 ms: TimeoutError('busy')"
    opened.page.get_by_role("button", name="Next").click()
    assert opened.facts()["path"] == "AsyncFlow/1:Call/exec[2]"
    opened.page.keyboard.press("Escape")
    assert opened.page.locator("#card").is_hidden()


def test_enter_goes_on_from_visit_to_visit(opened: Opened):
    opened.page.mouse.click(*opened.place_of("exec[1]"))
    opened.page.get_by_role("button", name="Next").focus()
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Enter")
    assert opened.facts()["path"] == "AsyncFlow/1:Call/exec[3]"
    opened.page.keyboard.press("Enter")  # at the last one this closes the card
    assert opened.page.locator("#card").is_hidden()


@pytest.mark.parametrize("width", [400, 1280])
def test_the_card_of_a_failure_does_not_cover_its_bar(browser: Any, tmp_path: Path, width: int):
    trace = steps_in_a_row(100)
    trace.spans[40].state = trace.spans[0].state = "failed"
    opened = Opened(browser, trace, tmp_path, width=width)
    opened.page.locator("#failures button").click()
    opened.settle()
    bar, card = (opened.page.locator(place).bounding_box() for place in (".track.chosen", "#card"))
    assert 0 < bar["y"] < bar["y"] + bar["height"] <= card["y"]


def test_a_track_name_shows_the_visit_and_its_action(opened: Opened):
    opened.page.locator(".track").get_by_role("button", name="Fetch").click()
    assert opened.facts()["action"] == "found"


def test_the_graph_shows_what_ran_how_often_and_how_long(browser: Any, tmp_path: Path):
    class Loop(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str | None:
            shared["n"] = shared.get("n", 0) + 1
            return "again" if shared["n"] < 3 else None

    loop, last, never = Loop(), pf.Node(), pf.Node()
    last.name, never.name = "Last", "Never"
    loop - "again" >> loop
    loop >> last
    loop - "never" >> never
    with Trace() as trace:
        pf.Flow(loop).run({})
    opened = Opened(browser, trace, tmp_path)
    graph = opened.page.locator("#pictures")
    assert re.fullmatch(r"Loop.+s.3", "".join(graph.locator("[data-id='Flow/Loop'] text").all_text_contents()))
    assert graph.locator("[data-id='Flow/Never']").get_attribute("class").endswith("unvisited")
    graph.locator("[data-id='Flow/Last']").click()
    assert opened.facts()["path"] == "Flow/3:Last"
    graph.locator("[data-id='Flow/Loop']").focus()
    opened.page.keyboard.press("Enter")
    assert opened.page.text_content("#card h2") == "Loop"
    assert opened.troubles == []


def test_flows_of_one_name_have_a_picture_for_each_shape(browser: Any, tmp_path: Path):
    def flow(*names: str) -> pf.Flow:
        nodes = [type(name, (pf.Node,), {})() for name in names]
        nodes[0] >> nodes[1]
        return pf.Flow(nodes[0])

    with Trace() as trace:
        for it in (flow("Load", "Embed"), flow("Ask", "Load"), flow("Ask", "Load")):
            it.run({})
    opened = Opened(browser, trace, tmp_path)
    pictures = opened.page.locator("#pictures svg")
    counts = [pictures.nth(number).locator("text.count").all_text_contents() for number in range(pictures.count())]
    assert [sum(not word.endswith("s") for word in words) for words in counts] == [0, 2]
    assert opened.troubles == []


def test_a_batch_of_many_items_is_a_strip_that_a_click_opens(browser: Any, tmp_path: Path):
    opened = Opened(browser, many_steps(400), tmp_path)
    strip = "() => { const t = tracks.at(-1); return [isStrip(t), peak(t.levels)]; }"
    assert opened.page.evaluate(strip) == [True, 40]
    opened.page.get_by_role("button", name="400 items").click()
    assert not opened.page.evaluate("() => isStrip(tracks.at(-1))")
    opened.page.mouse.click(*opened.place_of("Call/exec[123]"))
    assert opened.facts()["path"] == "Call/exec[123]"
    opened.page.get_by_role("button", name="400 items").click()
    assert opened.page.evaluate(strip) == [True, 40]
    assert opened.troubles == []


def test_a_failure_among_many_items_is_found_by_a_click(browser: Any, tmp_path: Path):
    trace = many_steps(4000)
    trace.spans[777].state = trace.spans[0].state = "failed"
    trace.spans[777].error = trace.spans[0].error = "ValueError('bad')"
    opened = Opened(browser, trace, tmp_path)
    opened.page.locator("#failures button").click()
    opened.settle()
    assert opened.facts()["path"] == "Call/exec[776]"
    red, green, blue = opened.color_of("Call/exec[776]", 0.5)
    assert red > 2 * max(green, blue)


def test_what_was_said_and_what_it_cost_stand_in_the_card(browser: Any, tmp_path: Path):
    class Ask(pf.Node):
        def prep(self, shared: Any) -> str:
            return "Why?\nBriefly."

        def exec(self, prompt: str) -> str:
            emit({"type": "chunk", "chunk": "Because"})
            emit({"type": "usage", "model": "small", "input_tokens": 1200, "output_tokens": 30})
            return "Because of <b>it</b>."

    with Trace(content=True) as trace:
        pf.Flow(Ask()).run({})
    opened = Opened(browser, trace, tmp_path)
    assert "1,200 + 30 tokens in and out, small" in (opened.page.text_content("#summary") or "")
    opened.page.locator(".track").get_by_role("button", name="Ask").click()
    card = opened.page.locator("#card")
    assert card.locator("h3").all_text_contents() == ["input", "events", "result"]
    assert card.locator("pre").all_text_contents() == ["Why?\nBriefly.", "Because", "Because of <b>it</b>."]
    assert (opened.facts()["tokens"], opened.facts()["model"]) == ("1,200 in, 30 out", "small")
    assert opened.page.locator("#nodes td").all_text_contents()[-2:] == ["1,200", "30"]
    assert opened.troubles == []


def test_the_wheel_zooms_at_the_mouse_with_ctrl_and_else_scrolls(opened: Opened):
    everything = opened.view()
    opened.point_at("exec[3]")
    opened.page.mouse.wheel(0, -400)
    assert opened.view() == everything
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, -400)
    near = opened.view()
    assert everything[0] < near[0] < near[1] < everything[1]
    opened.page.mouse.wheel(0, 2000)
    opened.page.keyboard.up("Control")
    assert opened.view() == everything


def test_a_drag_moves(opened: Opened):
    opened.page.get_by_role("button", name="Zoom in").click()
    before = opened.view()
    x, y = opened.place_of("exec[3]")
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x - 100, y, steps=3)
    opened.page.mouse.up()
    after = opened.view()
    assert after[0] > before[0]
    assert after[1] - after[0] == pytest.approx(before[1] - before[0])


def test_the_keyboard_zooms_moves_and_shows_all(opened: Opened):
    everything = opened.view()
    opened.page.focus("#timeline")
    opened.page.keyboard.press("+")
    near = opened.view()
    assert near[1] - near[0] == pytest.approx((everything[1] - everything[0]) / 1.5)
    opened.page.keyboard.press("ArrowRight")
    assert opened.view()[0] > near[0]
    opened.page.keyboard.press("-")
    opened.page.keyboard.press("0")
    assert opened.view() == everything


def test_two_fingers_zoom(browser: Any, tmp_path: Path):
    opened = Opened(browser, failed_run(), tmp_path, has_touch=True)
    touch = opened.page.context.new_cdp_session(opened.page)
    everything = opened.view()
    _, y = opened.place_of("exec[3]")

    def fingers(kind: str, *places: int) -> None:
        points = [{"x": x, "y": y, "id": number} for number, x in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 800, 1000)
    fingers("touchMove", 700, 1100)
    fingers("touchEnd")
    begin, end = opened.view()
    assert end - begin == pytest.approx((everything[1] - everything[0]) / 2)
    assert opened.troubles == []
    opened.page.context.close()


def test_the_buttons_zoom_for_those_without_a_wheel(opened: Opened):
    everything = opened.view()
    opened.page.get_by_role("button", name="Zoom in").click()
    assert opened.view() != everything
    opened.page.get_by_role("button", name="Show all").click()
    assert opened.view() == everything


def test_a_failure_is_red_and_a_success_is_not(opened: Opened):
    red, green, blue = opened.color_of("exec[3]")
    assert red > 2 * max(green, blue)
    red, green, blue = opened.color_of("exec[2]")
    assert red < max(green, blue)


def test_a_row_of_the_table_brings_out_its_node(opened: Opened):
    opened.page.locator("#nodes").get_by_role("button", name="Call").click()
    assert opened.page.evaluate("() => [chosen, path(selected)]") == ["Call", "AsyncFlow/1:Call"]
    assert opened.page.locator(".track.chosen").count() == 1


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_nothing_of_the_run_becomes_markup(browser: Any, tmp_path: Path):
    opened = Opened(browser, failed_run(HOSTILE, f"</script>{HOSTILE}{{{{DATA}}}}"), tmp_path)
    opened.page.on("dialog", lambda dialog: opened.troubles.append(dialog.message))
    opened.page.locator("#failures button").click()
    assert f"</script>{HOSTILE}{{{{DATA}}}}" in opened.facts()["error"]
    assert opened.page.locator("#nodes button").all_text_contents()[0] == HOSTILE
    assert opened.page.locator("script").count() == 2
    assert opened.page.locator("img").count() == 0
    assert opened.troubles == []


def test_fifty_thousand_steps_load_and_zoom(browser: Any, tmp_path: Path):
    opened = Opened(browser, many_steps(50_000), tmp_path)
    assert "50,000 items" in (opened.page.text_content("#summary") or "")
    opened.page.get_by_role("button", name="50,000 items").click()
    opened.settle()
    drawn = opened.page.evaluate(
        """() => {
          let drawn = 0;
          const brush = tracks[1].canvas.getContext("2d");
          for (const name of ["fill", "fillRect"]) {
            const work = brush[name];
            brush[name] = function (...args) { drawn++; work.apply(brush, args); };
          }
          draw();
          return drawn;
        }"""
    )
    assert 0 < drawn < 40 * 1280  # so many as there are pixels, and not so many as there are steps
    for _ in range(20):
        opened.page.get_by_role("button", name="Zoom in").click()
    begin, end = opened.view()
    assert end - begin < 1000
    middle = opened.page.evaluate(
        "() => { const box = tracks[1].canvas.getBoundingClientRect(); return box.top + 20; }"
    )
    opened.page.mouse.move(800, middle)
    assert "Call[" in (opened.page.text_content("#tip") or "")
    assert opened.troubles == []


def test_of_very_many_tracks_the_first_are_there_and_the_rest_a_click_away(browser: Any, tmp_path: Path):
    opened = Opened(browser, steps_in_a_row(300), tmp_path)
    assert opened.page.locator(".track canvas").count() == 1 + 120
    opened.page.get_by_role("button", name="Show 181 more tracks").click()
    opened.page.locator(".track canvas").nth(301).wait_for(state="attached")  # click does not wait for what it leads to
    assert opened.page.locator(".track canvas").count() == 1 + 301


def test_tokens_are_added_up_over_more_items_than_a_call_takes(browser: Any, tmp_path: Path):
    opened = Opened(browser, steps_in_a_row(1), tmp_path)
    opened.page.evaluate("() => { children[0] = new Array(300_000).fill(1); run.usage[1] = [[null, 2, 1]]; }")
    assert opened.page.evaluate("() => tokensOf(0).slice(0, 2)") == [600_000, 300_000]


def test_a_track_is_as_high_before_it_is_drawn_as_after(browser: Any, tmp_path: Path):
    opened = Opened(browser, steps_in_a_row(100), tmp_path)
    heights = "() => tracks.map(track => track.canvas.getBoundingClientRect().height)"
    assert set(opened.page.evaluate(heights)) == {24}


def test_all_tracks_are_printed_and_dark_ones_on_white(browser: Any, tmp_path: Path):
    opened = Opened(browser, steps_in_a_row(100), tmp_path, scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="dark")
    opened.settle()
    assert opened.page.evaluate("() => theme.paper") == "#fff"
    assert sum(opened.color_of("99:N99", 0.5)) > 0
    assert opened.page.evaluate("() => tracks.at(-1).canvas.width === Math.round(width() * devicePixelRatio)")


def test_the_time_on_a_node_is_rounded(browser: Any, tmp_path: Path):
    opened = Opened(browser, Trace(), tmp_path)
    assert opened.page.evaluate("() => [999, 1230, 41600, 2e6].map(brief)") == ["999 µs", "1.2 ms", "42 ms", "2.00 s"]


def test_the_time_of_a_cancelled_flow_can_be_read_on_its_bar(browser: Any, tmp_path: Path):
    trace = steps_in_a_row(3)
    trace.spans[0].state = "cancelled"
    opened = Opened(browser, trace, tmp_path)
    assert opened.page.evaluate("() => [isWhole(0), isWhole(1)]") == [True, True]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_width_and_follows_the_scheme(browser: Any, tmp_path: Path, width: int, scheme: str):
    opened = Opened(browser, failed_run(), tmp_path, width=width, scheme=scheme)
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= width
    paper = opened.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) > 600) == (scheme == "light")
    assert opened.troubles == []


def test_a_trace_of_nothing_says_so(browser: Any, tmp_path: Path):
    opened = Opened(browser, Trace(), tmp_path)
    assert opened.page.text_content("h1") == "Nothing ran"
    assert opened.troubles == []
