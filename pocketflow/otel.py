"""OpenTelemetry: a span for each visit, entry and branch, for any collector.

    with OpenTelemetry():
        flow.run(shared)

Needs the extra `otel`. A span's parent is the span that is current when it begins, and while it
runs it is the current one itself: a run is inside the request that a web framework traces, and
the calls of an instrumented client are inside the node that made them. Tokens are those of
`usage` events; the names follow the conventions for generative AI:

    gen_ai.operation.name        "invoke_workflow", for the outermost flow or node
    gen_ai.workflow.name         its name
    gen_ai.request.model         the model of the last call in a visit
    gen_ai.usage.input_tokens    of all calls in a visit itself, not of visits inside it;
    gen_ai.usage.output_tokens   so the sum over all spans is that of the run
    error.type                   the class of the error that ended it, if any
    pocketflow.path              the path of the step
    pocketflow.action            the action of a visit, if any
    pocketflow.skipped           true if a hook's `Skip` replaced the work
    pocketflow.cancelled         true if something that is not an `Exception` ended it, such as a pause

A retry is an event of its span: "retry", with attempt (from 0), wait (seconds) and error.type.
"""

from __future__ import annotations

from contextvars import Token
from typing import Any

from pocketflow import __version__
from pocketflow.hooks import Hook, Step

try:
    from opentelemetry import context
    from opentelemetry.trace import Span, StatusCode, Tracer, get_tracer, set_span_in_context
except ImportError as error:
    raise ImportError("pocketflow.otel needs OpenTelemetry: pip install opentelemetry-api") from error

__all__ = ["OpenTelemetry"]


class _Open:
    """A span that runs, what was current before it, and what the calls inside it used."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.before: Token[context.Context] = context.attach(set_span_in_context(span))
        self.usage: list[tuple[Any, int, int]] = []  # model, input and output tokens of each call

    def end(self) -> None:
        if self.usage:
            models, inputs, outputs = zip(*self.usage, strict=True)
            self.span.set_attribute("gen_ai.usage.input_tokens", sum(inputs))
            self.span.set_attribute("gen_ai.usage.output_tokens", sum(outputs))
            if models[-1]:
                self.span.set_attribute("gen_ai.request.model", str(models[-1]))
        context.detach(self.before)
        self.span.end()


class OpenTelemetry(Hook):
    """Makes the spans. Enter it as often as you like, also in tasks and threads.

    tracer: an `opentelemetry.trace.Tracer`; None means that of the global provider.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.tracer = tracer or get_tracer("pocketflow", __version__)
        self._open: dict[Step | None, _Open] = {}

    def on_start(self, step: Step) -> None:
        if step.kind not in ("flow", "node"):
            return
        name = step.name if step.index is None else f"{step.name}[{step.index}]"
        attributes = {"pocketflow.path": step.path}
        if step.parent is None:
            attributes |= {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": name}
            name = f"invoke_workflow {name}"
        self._open[step] = _Open(self.tracer.start_span(name, attributes=attributes))

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        if event["type"] == "usage" and (around := self._around(step)):
            tokens = (event.get(key) for key in ("input_tokens", "output_tokens"))
            read, written = (it if type(it) is int else 0 for it in tokens)
            around.usage.append((event.get("model"), read, written))

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        if around := self._around(step):
            facts: dict[str, Any] = {"attempt": attempt, "wait": wait, "error.type": type(error).__qualname__}
            around.span.add_event("retry", facts if step.index is None else {**facts, "item": step.index})

    def on_end(self, step: Step, result: Any) -> None:
        if ended := self._open.pop(step, None):
            if step.skipped:
                ended.span.set_attribute("pocketflow.skipped", True)
            if result is not None and step.index is None:
                ended.span.set_attribute("pocketflow.action", str(result))
            ended.end()

    def on_error(self, step: Step, error: BaseException) -> None:
        if ended := self._open.pop(step, None):
            if isinstance(error, Exception):
                ended.span.set_attribute("error.type", type(error).__qualname__)
                ended.span.set_status(StatusCode.ERROR, str(error))
            else:
                ended.span.set_attribute("pocketflow.cancelled", True)
            ended.end()

    def _around(self, step: Step | None) -> _Open | None:
        """The open span of a step, or of the nearest one around it that has one."""
        while step is not None and step not in self._open:
            step = step.parent
        return self._open.get(step)
