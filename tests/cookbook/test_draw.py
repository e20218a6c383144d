"""The recipe that shows the shape of a flow."""

from __future__ import annotations

from tests.cookbook.runner import run

PICTURE = """\
       ╭──────────╮
       │  Decide  │
       ╰──┬──┬──┬─╯
          │  ▲  │
    ┌─────┘  │  └────┐
    │    ┌───┘       │
  search │         answer
    ▼    │           ▼
┌───┴────┴──┐   ┌────┴───┐
│  Search   │   │ Answer │
└───────────┘   └────────┘

for Mermaid:
flowchart TD
    n0(["Decide"])
    n1["Search"]
    n2["Answer"]
    n0 -->|"search"| n1
    n0 -->|"answer"| n2
    n1 --> n0
    classDef default fill:#8881,stroke:#888

in the flow with the typo:
- Review.post may return "approve", for which there is no edge: write Review - "approve" >> node
- Review - "aprove" >> Publish is never taken: post is annotated to return "approve" or "reject"
"""


def test_draw_shows_an_agent_and_finds_the_typo():
    assert run("draw") == PICTURE
