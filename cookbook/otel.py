"""OpenTelemetry: a span of every node, for any collector.

    pip install opentelemetry-sdk
    python -m cookbook.otel [FILE]     (without a FILE: this one)

The names are those of the conventions for generative AI. The spans of nested flows and of branches
that run at once have the right parents. Expect the spans as a tree, with a retry in it; with a FILE
that does not exist, those up to the error. In place of the exporter that keeps spans in memory,
`OTLPSpanExporter()` of `opentelemetry-exporter-otlp` sends them to a collector.
"""

import asyncio
import sys
from pathlib import Path

from cookbook.terminal import run
from pocketflow import AsyncFlow, Node

try:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from pocketflow.otel import OpenTelemetry
except ImportError:
    sys.exit(print("needs OpenTelemetry: pip install opentelemetry-sdk", file=sys.stderr) or 2)


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
        with OpenTelemetry(provider.get_tracer("pocketflow")):
            asyncio.run(flow.run_async({"file": sys.argv[1] if len(sys.argv) > 1 else __file__}))
    finally:
        provider.shutdown()
        print(*tree(exporter.get_finished_spans()), sep="\n")


if __name__ == "__main__":
    run(main)
