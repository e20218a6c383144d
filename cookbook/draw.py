"""What a flow looks like, and what is wrong with it, before anything runs: a picture and a check.

    python -m cookbook.draw

Prints the agent of `cookbook.agent` drawn with lines, and as a Mermaid flowchart, which GitHub and
https://mermaid.live show as a picture; `to_svg` makes one for a page, and in a notebook a flow as the
last line of a cell is its picture. Then what `check` finds in a flow with a typo in an edge.
`python -m pocketflow draw cookbook.agent:flow` and `... check ...` do the same in a shell.
"""

from typing import Literal

from cookbook.agent import flow as agent
from cookbook.terminal import run
from pocketflow import Flow, Node
from pocketflow.graph import check, to_mermaid, to_text


class Review(Node):
    def post(self, shared, prep_res, exec_res) -> Literal["approve", "reject"]:
        return "approve" if shared["score"] > 5 else "reject"


class Publish(Node): ...


class Revise(Node): ...


review = Review()
review - "aprove" >> Publish()
review - "reject" >> Revise() >> review
flow = Flow(start=review)


def main():
    print(to_text(agent))
    print("\nfor Mermaid:")
    print(to_mermaid(agent))
    print("\nin the flow with the typo:")
    for finding in check(flow):
        print(f"- {finding}")


if __name__ == "__main__":
    run(main)
