"""Shows a flow as a picture if it is the last line of a notebook's cell."""

from __future__ import annotations

from typing import Any

from pocketflow import Flow
from pocketflow.graph.svg import to_svg
from pocketflow.graph.text import to_text


def _mime_bundle(flow: Flow, include: Any = None, exclude: Any = None) -> dict[str, str]:
    """What Jupyter, VS Code and IPython show: as HTML the picture takes the colours of the page."""
    picture = to_svg(flow)
    return {"text/html": picture, "image/svg+xml": picture, "text/plain": to_text(flow)}


Flow._repr_mimebundle_ = _mime_bundle  # type: ignore[attr-defined]  # the core knows nothing of notebooks
