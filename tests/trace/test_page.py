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
from pocketflow.trace import Span, Trace

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs the browser extra: pip install -e '.[browser]', and Debian's chromium"
)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


class Opened:
    """A saved trace in a tab; what it logs or asks of the network is kept."""

    def __init__(self, browser: Any, trace: Trace, folder: Path, **options: Any) -> None:
        trace.save(folder / "run.html")
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
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

    def point_at(self, path_end: str) -> None:
        """Move the mouse to the middle of the bar whose path ends so."""
        x, y = self.page.evaluate(
            """end => {
              const span = run.start.findIndex((_, span) => path(span).endsWith(end) && text("kind", span) !== "wait");
              const row = rows.find(row => row.spans.includes(span)), box = canvas.getBoundingClientRect();
              return [box.left + toX(run.start[span] + run.time[span] / 2), box.top + AXIS + GAP + row.top + ROW / 2];
            }""",
            path_end,
        )
        self.page.mouse.move(x, y)

    def color_of(self, path_end: str) -> list[int]:
        """Near the left end of a bar, where it has no letters."""
        return self.color(
            """() => {
              const span = run.start.findIndex((_, span) => path(span).endsWith("END"));
              const row = rows.find(row => row.spans.includes(span));
              return [toX(run.start[span]) + 2, AXIS + GAP + row.top + 3];
            }""".replace("END", path_end)
        )

    def color(self, place: str = "() => [3, 20]") -> list[int]:
        """Of a pixel, read from a copy, as the browser has a word to say about canvases that are read."""
        x, y = self.page.evaluate(place)
        return self.page.evaluate(  # type: ignore[no-any-return]  # of any JavaScript
            """([x, y]) => {
              const copy = new OffscreenCanvas(1, 1).getContext("2d");
              copy.drawImage(canvas, x * devicePixelRatio, y * devicePixelRatio, 1, 1, 0, 0, 1, 1);
              return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
            }""",
            [x, y],
        )


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
    opened.page.close()


def test_the_page_sums_the_run_up(opened: Opened):
    assert opened.page.title() == "Run of AsyncFlow"
    summary = opened.page.text_content("#summary") or ""
    assert re.fullmatch(r"11 steps in .+ · 4 lanes · 1 failure · 2 retries", summary)


def test_the_mouse_over_a_bar_shows_what_is_known_of_it(opened: Opened):
    opened.point_at("exec[3]")
    tip = opened.page.locator("#tip")
    assert tip.is_visible()
    facts = dict(zip(tip.locator("dt").all_text_contents(), tip.locator("dd").all_text_contents(), strict=True))
    assert (facts["path"], facts["kind"], facts["attempts"]) == ("AsyncFlow/1:Call/exec[3]", "exec", "2")
    assert (facts["state"], facts["error"]) == ("failed", "ValueError('bad')")
    assert "ms" in facts["took"]
    opened.page.mouse.move(5, 5)
    assert tip.is_hidden()


def test_an_action_is_shown(opened: Opened):
    opened.page.get_by_role("button", name="Fetch").click()
    assert "actionfound" in (opened.page.text_content("#details") or "")


def test_the_wheel_zooms_at_the_mouse_and_out_again(opened: Opened):
    everything = opened.view()
    opened.point_at("exec[3]")
    opened.page.mouse.wheel(0, -400)
    near = opened.view()
    assert everything[0] < near[0] < near[1] < everything[1]
    opened.page.mouse.wheel(0, 2000)
    assert opened.view() == everything


def test_a_drag_moves(opened: Opened):
    opened.point_at("exec[3]")
    opened.page.mouse.wheel(0, -400)
    before = opened.view()
    opened.page.mouse.down()
    opened.page.mouse.move(200, 300, steps=3)
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


def test_the_arrow_keys_reach_lanes_that_are_further_down(browser: Any, tmp_path: Path):
    opened = Opened(browser, many_steps(400), tmp_path)
    opened.page.focus("#timeline")
    opened.page.keyboard.press("ArrowDown")
    assert opened.page.evaluate("() => view.top") > 0
    opened.page.keyboard.press("ArrowUp")
    assert opened.page.evaluate("() => view.top") == 0
    opened.page.close()


def test_two_fingers_zoom(browser: Any, tmp_path: Path):
    opened = Opened(browser, failed_run(), tmp_path, has_touch=True)
    touch = opened.page.context.new_cdp_session(opened.page)
    everything = opened.view()

    def fingers(kind: str, *places: int) -> None:
        points = [{"x": x, "y": 200, "id": number} for number, x in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 500, 700)
    fingers("touchMove", 400, 800)
    fingers("touchEnd")
    begin, end = opened.view()
    assert end - begin == pytest.approx((everything[1] - everything[0]) / 2)
    assert opened.troubles == []
    opened.page.close()


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
    assert red < 2 * max(green, blue)


def test_no_name_has_the_color_of_a_failure(opened: Opened):
    hues = opened.page.evaluate("() => Array.from({ length: 1000 }, (_, name) => hue(1e6 + name))")
    assert 45 <= min(hues) < max(hues) <= 325


def test_a_row_of_the_table_brings_out_its_node(opened: Opened):
    opened.page.get_by_role("button", name="Call").click()
    assert opened.page.evaluate("() => [run.words[chosen], path(selected)]") == ["Call", "AsyncFlow/1:Call"]
    opened.page.get_by_role("button", name="Call").click()
    assert opened.page.evaluate("() => [chosen, selected]") == [-1, -1]


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_nothing_of_the_run_becomes_markup(browser: Any, tmp_path: Path):
    opened = Opened(browser, failed_run(HOSTILE, f"</script>{HOSTILE}"), tmp_path)
    opened.page.on("dialog", lambda dialog: opened.troubles.append(dialog.message))
    opened.point_at("exec[3]")
    assert f"</script>{HOSTILE}" in (opened.page.text_content("#tip") or "")
    assert opened.page.locator("#nodes button").all_text_contents()[0] == HOSTILE
    assert opened.page.locator("script").count() == 2
    assert opened.page.locator("img").count() == 0
    assert opened.troubles == []
    opened.page.close()


def test_fifty_thousand_steps_load_and_zoom(browser: Any, tmp_path: Path):
    opened = Opened(browser, many_steps(50_000), tmp_path)
    assert "50,001 steps" in (opened.page.text_content("#summary") or "")
    for _ in range(20):
        opened.page.get_by_role("button", name="Zoom in").click()
    begin, end = opened.view()
    assert end - begin < 1000
    opened.page.mouse.move(640, opened.page.evaluate("() => canvas.offsetTop + AXIS + GAP + rows[5].top + ROW / 2"))
    assert "Call/exec[" in (opened.page.text_content("#tip") or "")
    assert opened.troubles == []
    opened.page.close()


def test_a_failure_is_seen_among_bars_that_share_its_pixel(browser: Any, tmp_path: Path):
    trace = many_steps(50_000)
    trace.spans[1 + 2 * 40].state = "failed"  # the third of its lane
    opened = Opened(browser, trace, tmp_path, viewport={"width": 390, "height": 800})
    red, green, blue = opened.color("() => [Math.floor(toX(2000)), AXIS + GAP + rows[1].top + 3]")
    assert red > 2 * max(green, blue)
    opened.page.close()


def test_only_so_many_bars_are_drawn_as_there_are_pixels(browser: Any, tmp_path: Path):
    opened = Opened(browser, many_steps(50_000), tmp_path)
    drawn = opened.page.evaluate(
        "() => { let drawn = 0; const fill = context.fillRect;"
        "context.fillRect = function () { drawn++; fill.apply(context, arguments); }; draw(); return drawn; }"
    )
    assert drawn < 40 * 1280
    opened.page.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_width_and_follows_the_scheme(browser: Any, tmp_path: Path, width: int, scheme: str):
    opened = Opened(browser, failed_run(), tmp_path, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert (sum(opened.color()) > 600) == (scheme == "light")
    assert opened.troubles == []
    opened.page.close()


def test_a_trace_of_nothing_says_so(browser: Any, tmp_path: Path):
    opened = Opened(browser, Trace(), tmp_path)
    assert opened.page.text_content("h1") == "Nothing ran"
    assert opened.troubles == []
    opened.page.close()
