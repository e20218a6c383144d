"""One run as a page sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow.serve.live import Live
from pocketflow.serve.problems import NotFound
from pocketflow.serve.sse import Bell, sse
from pocketflow.serve.state import Json

if TYPE_CHECKING:
    from pocketflow.serve.runs import Runs


PAST = 500  # events from before the state, for those who list them


class View:
    """One run as a page sees it, which may begin, stop, go on and run elsewhere meanwhile."""

    def __init__(self, runs: Runs, run_id: str | None) -> None:
        self.runs, self.run_id = runs, run_id
        self.live: Live | None = None
        self.number = self.refreshed = 0
        self.told = b""  # of a run that is only in the journal
        self.asked: tuple[int, Json | None] = (0, None)  # how often the journal was polled by then, and the run

    @property
    def bells(self) -> list[Bell]:
        """What rings when there is more of the run; that it begins is told to all."""
        return [self.live.buffer.bell] if self.live else []

    async def news(self) -> bytes:
        """The messages since the last time."""
        if self.run_id is None:
            return b""
        live = self.runs.lives.get(self.run_id)
        if live is None:
            return await self._recorded(self.run_id)
        self.told = b""
        if live is not self.live or self.number < live.buffer.first:
            self.live, self.refreshed, self.number = live, live.refreshed, live.buffer.end
            return sse(live.described(), "state") + live.buffer.past(PAST)
        if self.number < live.buffer.end:
            self.number, messages = live.buffer.since(self.number)
            return messages
        if live.refreshed != self.refreshed:
            self.refreshed = live.refreshed
            return sse(live.described(), "state")
        return b""

    async def _recorded(self, run_id: str) -> bytes:
        """The state of a run that is only in the journal, where it may be another one than the last time."""
        polled, run = self.asked
        self.live, self.asked = None, (self.runs.polled, self.runs.seen.get(run_id))
        is_at_rest = run == self.asked[1] and (run or {}).get("status") != "running"
        if self.told and (polled == self.runs.polled or is_at_rest):
            return b""
        try:
            told = sse(await self.runs.get(run_id), "state")
        except NotFound:
            told = sse({"run_id": run_id}, "missing")
        is_news, self.told = told != self.told, told
        return told if is_news else b""
