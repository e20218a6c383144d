"""Chain of thought: one step a visit, by a plan that is kept in the store, and revised where it fails.

    python -m cookbook.chain_of_thought fox goose corn     (each eats the next, where the farmer is not)

A farmer brings things over a river, one at a time. What was thought so far and what is left of the plan
go into each prompt. The first step of the plan that comes back is taken, unless the puzzle forbids it:
then the model is told why, and thinks again. Without a model, a rule tries one thing after the other.
"""

from itertools import pairwise

from cookbook.llm import ask_for_data, retry_after
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

FARMER, NOTHING = "farmer", "nothing"
PROMPT = """
A farmer wants to bring these over a river: {things}.
His boat holds him and one of them. Where he is not, each of them eats the next.

Now on the near bank, with all others on the far bank: {near}
Your thoughts so far:
{thoughts}
Your plan from here: {plan}

Think about the next crossing, and revise the plan where it fails. Reply with JSON:
{{"thought": "in one sentence", "plan": ["what he takes across now, or nothing", "what then", ...]}}
An empty plan says that there is no way.
"""


class Think(Node):
    def prep(self, shared):
        return shared["things"], shared["near"], shared["thoughts"], shared["plan"]

    def exec(self, inputs):
        things, near, thoughts, plan = inputs
        now = in_words(sorted(near[-1]))
        prompt = PROMPT.format(things=in_words(things), near=now, thoughts="\n".join(thoughts), plan=in_words(plan))
        return ask_for_data(prompt, lambda idea: check(idea, things, near), offline=lambda: revise(plan, things, near))

    def post(self, shared, inputs, idea):
        thought, plan = idea
        shared["thoughts"].append(thought)
        print(f"{len(shared['thoughts'])}. {thought}\n   Plan: {in_words(plan)}")
        if not plan:
            return "done"
        step, *shared["plan"] = plan
        shared["near"].append(cross(step, shared["things"], shared["near"]))
        return "think" if shared["near"][-1] else "done"


class Conclude(Node):
    def post(self, shared, prep_res, exec_res):
        *crossings, near = shared["near"]
        print("There is no way." if near else f"All are over after crossing {len(crossings)}.")


def in_words(names):
    return ", ".join(names) or "none"


def check(idea, things, near):
    thought, plan = str(idea["thought"]), [str(step) for step in idea["plan"]]
    if plan:
        cross(plan[0], things, near)
    return thought, plan


def cross(take, things, near):
    """Who is on the near bank after the next crossing; a ValueError says why it is forbidden."""
    here = near[-1] if FARMER in near[-1] else {FARMER, *things} - near[-1]
    crew = {FARMER, take} - {NOTHING}
    if not crew <= here:
        raise ValueError(f"there is no {take} where he is")
    for eater, eaten in pairwise(things):
        if {eater, eaten} <= here - crew:
            raise ValueError(f"the {eater} would eat the {eaten}")
    after = near[-1] ^ crew
    if after in near:
        raise ValueError("all would be as it was before")
    return after


def revise(plan, things, near):
    """Go by the plan; where its next step is forbidden, take what may be taken, and plan the rest anew."""
    thought = ""
    for step in dict.fromkeys([*plan[:1], *things, NOTHING]):
        try:
            after = cross(step, things, near)
        except ValueError as doubt:
            thought += f"{step}? No, {doubt}. "
        else:
            plan = plan if [step] == plan[:1] else [step, *one_by_one(things, after, step)]
            return {"thought": f"{thought}{step}? Yes.", "plan": plan}
    return {"thought": thought.strip(), "plan": []}


def one_by_one(things, near, taken):
    """The crossings that bring over what is on the near bank, at last what he has just taken back there."""
    left = sorted((thing for thing in things if thing in near), key=lambda thing: thing == taken)
    crossings = [step for thing in left for step in (NOTHING, thing)]
    return crossings[1:] if FARMER in near else crossings


think = Think(max_retries=3, wait=retry_after)
think - "think" >> think
think - "done" >> Conclude()
flow = Flow(start=think)


def main():
    things = argument("wolf goat cabbage").split()
    near = [{FARMER, *things}]  # who is on the near bank: at first, and after each crossing
    flow.run({"things": things, "near": near, "thoughts": [], "plan": []})


if __name__ == "__main__":
    run(main)
