"""Hooks that several tests use."""

from __future__ import annotations

from typing import Any

from pocketflow.hooks import Hook, Skip, Step
from tests.kits import SyncKit


class Lines(Hook):
    """Writes down everything, as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[Step] = []

    def on_start(self, step: Step) -> Any:
        self.steps.append(step)
        self.lines.append(f"start {step.path}")

    def on_event(self, step: Step, event: dict[str, Any]) -> Any:
        self.lines.append(f"event {step.path} {event['type']}")

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> Any:
        self.lines.append(f"retry {step.path} {attempt} {wait} {error!r}")

    def on_end(self, step: Step, result: Any) -> Any:
        self.lines.append(f"end {step.path} {result!r}{' skipped' * step.skipped}")

    def on_error(self, step: Step, error: BaseException) -> Any:
        self.lines.append(f"error {step.path} {error!r}")

    def paths(self) -> list[str]:
        return [step.path for step in self.steps]

    def is_balanced(self) -> bool:
        """Whether everything that started has ended once."""
        starts = [line.split()[1] for line in self.lines if line.startswith("start")]
        ends = [line.split()[1] for line in self.lines if line.startswith(("end", "error"))]
        return sorted(starts) == sorted(ends)


class Skipping(Hook):
    """Skips the steps whose path ends so."""

    def __init__(self, ending: str, result: Any) -> None:
        self.ending, self.result = ending, result

    def on_start(self, step: Step) -> Skip | None:
        return Skip(self.result) if step.path.endswith(self.ending) else None


def logged(kit: SyncKit, node: Any, shared: Any = None, *hooks: Hook) -> Lines:
    """What a hook hears of a run, beside others."""
    lines = Lines()
    kit.hooks = (lines, *hooks)
    kit.run(node, shared)
    return lines
