"""Flows served for real, and their page in a real browser."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest

pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")
pytest.importorskip("uvicorn", reason="needs the serve extra: pip install -e '.[serve]'")
pytest.importorskip("playwright", reason="needs the browser extra: pip install -e '.[browser]', and Debian's chromium")
import uvicorn
from playwright import sync_api as playwright

from pocketflow.serve import app

PATIENCE = 10  # seconds, after which a test has failed
VISIBILITY = """
let isHidden = false;
Object.defineProperty(document, "hidden", { get: () => isHidden });
window.setHidden = value => { isHidden = value; document.dispatchEvent(new Event("visibilitychange")); };
"""


class Served:
    """Flows served in a thread, as in the main one the loop of Playwright runs."""

    def __init__(self, flows: dict[str, Any], journal: Any = None, **options: Any) -> None:
        self.app = app(flows, journal, **options)
        self.runs = self.app.state.runs
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        config = uvicorn.Config(self.app, log_config=None, timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=asyncio.run, args=[self._serve()], daemon=True)
        self.begun = threading.Event()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun.set()
        await self.server.serve([self.listener])

    def __enter__(self) -> Self:
        self.thread.start()
        assert self.begun.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.runs.close)
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function on the loop of the server, where gates belong, and wait for what it gives."""

        async def call() -> Any:
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def start(self, name: str, shared: Any = None, run_id: str | None = None) -> str:
        run_id = self.do(self.runs.start, name, shared or {}, run_id)
        assert isinstance(run_id, str)
        return run_id


class Studio:
    """The page in a tab; `troubles` is what it logs, and what its policy refuses.

    questions: those of the browser's own dialogs, which are answered with `is_sure`.
    """

    def __init__(self, page: Any, url: str, hash: str = "") -> None:
        self.page, self.url = page, url
        self.troubles: list[str] = []
        self.questions: list[str] = []
        self.is_sure = False
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", self._answer)
        page.add_init_script(VISIBILITY)
        page.goto(f"{url}{hash}")

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    def _answer(self, dialog: Any) -> None:
        (self.questions if dialog.type == "confirm" else self.troubles).append(dialog.message)
        if self.is_sure:
            dialog.accept()
        else:
            dialog.dismiss()

    def one(self, selector: str, **options: Any) -> Any:
        return self.page.locator(selector, **options)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def shows(self, selector: str, text: str | re.Pattern[str] | list[str]) -> None:
        """Wait until the text of an element is this, or the texts of several."""
        playwright.expect(self.one(selector)).to_have_text(text, timeout=PATIENCE * 1000)

    def says(self, selector: str, text: str) -> None:
        """Wait until the text of an element has this in it."""
        playwright.expect(self.one(selector)).to_contain_text(text, timeout=PATIENCE * 1000)

    def has(self, selector: str, count: int = 1) -> None:
        """Wait until there are so many visible elements."""
        playwright.expect(self.one(selector).filter(visible=True)).to_have_count(count, timeout=PATIENCE * 1000)

    def sees(self, selector: str) -> None:
        """Wait until an element is where one looks, and not scrolled away."""
        playwright.expect(self.one(selector)).to_be_in_viewport(timeout=PATIENCE * 1000)

    def node(self, name: str, state: str) -> None:
        """Wait until a node of the picture stands so."""
        self.has(f"[data-id$='/{name}'][data-state='{state}']")

    def open_form(self) -> None:
        playwright.expect(self.one("#new")).to_be_enabled(timeout=PATIENCE * 1000)
        self.page.keyboard.press("n")

    def start(self, store: str = "{}", name: str = "") -> None:
        """Start the chosen flow with its form."""
        self.open_form()
        self.one("#fields textarea").fill(store)
        self.one("#run-name").fill(name)
        self.page.keyboard.press("Control+Enter")

    def value(self, key: str) -> Any:
        """The row of the store's table for a key."""
        return self.one("#values > div", has=self.page.locator("dt b", has_text=re.compile(f"^{re.escape(key)}$")))

    def tab(self, name: str) -> None:
        self.page.locator("#tabs").get_by_role("button", name=name).click()

    def hide(self, is_hidden: bool) -> None:
        """What a browser does to a tab behind others; Playwright keeps all of them in front."""
        self.page.evaluate("value => setHidden(value)", is_hidden)
