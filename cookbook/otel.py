"""OpenTelemetry: a hook of forty lines that makes a span of every node, for any collector.

    pip install 'opentelemetry-sdk>=1.27'
    python -m cookbook.otel [FILE]     (without a FILE: this one)

The names are those of the conventions for generative AI. The spans of nested flows and of branches
that run at once have the right parents, as each step knows its own. Expect the spans as a tree, with
a retry in it; of a FILE that is missing, those up to the error. In place of the exporter that keeps
spans in memory, `OTLPSpanExporter()` of `opentelemetry-exporter-otlp` sends them to a collector.
"""

import asyncio
import sys
from pathlib import Path

from cookbook.terminal import run
from pocketflow import AsyncFlow, Hook, Node, hooked

try:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import StatusCode, set_span_in_context
except ImportError:
    sys.exit(print("needs OpenTelemetry: pip install 'opentelemetry-sdk>=1.27'", file=sys.stderr) or 2)


class Spans(Hook):
    """A span for every visit of a node or flow, and for every branch and entry of a batch flow."""

    def __init__(self, tracer):
        self.tracer, self.spans = tracer, {}

    def around(self, step):
        """The span of a step, or of the nearest one around it that has a span."""
        while step is not None and step not in self.spans:
            step = step.parent
        return self.spans.get(step)

    def on_start(self, step):
        if step.kind not in ("flow", "node"):
            return
        outer = self.around(step.parent)
        name = step.name if step.index is None else f"{step.name}[{step.index}]"
        attributes = {"pocketflow.path": step.path}
        if outer is None:
            attributes |= {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": name}
            name = f"invoke_workflow {name}"
        context = None if outer is None else set_span_in_context(outer)  # given, as tasks end in any order
        self.spans[step] = self.tracer.start_span(name, context=context, attributes=attributes)

    def on_retry(self, step, error, attempt, wait):
        attributes = {"attempt": attempt, "wait": wait, "error.type": type(error).__qualname__}
        self.around(step).add_event("retry", attributes if step.index is None else {**attributes, "item": step.index})

    def on_end(self, step, result):
        if step in self.spans:
            self.spans.pop(step).end()

    def on_error(self, step, error):
        if step in self.spans:
            span = self.spans.pop(step)
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR, str(error))
            span.end()


class Read(Node):
    def post(self, shared, prep_res, exec_res):
        shared["text"] = Path(shared["file"]).read_text()


class Words(Node):
    def post(self, shared, prep_res, exec_res):
        shared["words"] = len(shared["text"].split())


class Longest(Node):
    def post(self, shared, prep_res, exec_res):
        shared["longest"] = max(map(len, shared["text"].splitlines()), default=0)


class Send(Node):
    def prep(self, shared):
        return f"{shared['words']} words, the longest line has {shared['longest']} characters\n"

    def exec(self, report):
        if self.cur_retry == 0:
            raise ConnectionError("the line is busy")  # as lines are, once in a while
        print(report)


read = Read()
read >> [Words(), Longest()] >> Send(max_retries=2)
flow = AsyncFlow(start=read)


def tree(spans, parent=None, indent=""):
    """The spans as lines: below each one those that began in it, in the order in which they began."""
    for span in sorted(spans, key=lambda span: span.start_time):
        if (span.parent and span.parent.span_id) == parent:
            error = f" ! {span.attributes['error.type']}" if "error.type" in span.attributes else ""
            events = "".join(f" ({event.name} after {event.attributes['error.type']})" for event in span.events)
            yield f"{indent}{span.name}{error}{events}"
            yield from tree(spans, span.context.span_id, f"{indent}  ")


def main():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        with hooked(Spans(provider.get_tracer("pocketflow"))):
            asyncio.run(flow.run_async({"file": sys.argv[1] if len(sys.argv) > 1 else __file__}))
    finally:
        provider.shutdown()
        print(*tree(exporter.get_finished_spans()), sep="\n")


if __name__ == "__main__":
    run(main)
