"""A flow and a trace as the last lines of a notebook's cells, in a notebook that really runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketflow import Flow, Node
from pocketflow.graph import to_svg, to_text

NEEDS = "needs the browser extra: pip install -e '.[browser]'"
CELL = """\
from pocketflow import Flow, Node
import pocketflow.graph
class Ask(Node): ...
Flow(Ask())"""
TRACED = """\
from pocketflow.trace import Trace
with Trace() as trace:
    Flow(Ask()).run({})
trace"""


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own modules
def test_a_flow_as_the_last_line_of_a_cell_is_its_picture_and_a_trace_its_page():
    nbformat = pytest.importorskip("nbformat", reason=NEEDS)
    preprocessors = pytest.importorskip("nbconvert.preprocessors", reason=NEEDS)
    pytest.importorskip("ipykernel", reason=NEEDS)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (CELL, TRACED)])
    root = Path(__file__).parents[2]
    runner = preprocessors.ExecutePreprocessor(timeout=60, kernel_name="python3")
    done, _ = runner.preprocess(notebook, {"metadata": {"path": str(root)}})
    [output], [traced] = (cell.outputs for cell in done.cells)
    flow = Flow(type("Ask", (Node,), {})())
    assert output.data["text/html"] == output.data["image/svg+xml"] == to_svg(flow)
    assert output.data["text/plain"] == to_text(flow)
    assert "<iframe" in traced.data["text/html"]
    assert traced.data["text/plain"].startswith("Flow")
