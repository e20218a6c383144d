"""Two agents that talk over queues: one gives hints, one guesses.

    python -m cookbook.multi_agent [WORD]     (a name out of Python's builtins, such as "sorted")

Each agent is a flow that loops on itself and waits for the other's message; both run at once as
branches of one flow. Without a model the hints are the length and the letters, and
the guesser takes the names of the builtins that agree with every hint so far.
"""

import asyncio
import builtins
import json
import re

from cookbook.llm import call_llm_async, retry_after
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow

MOST_GUESSES = 10
NAMES = sorted(name for name in vars(builtins) if name.islower() and name[0] != "_")


class Hint(AsyncNode):
    async def prep_async(self, shared):
        guess = await shared["guesses"].get()
        return guess, shared["word"], len(shared["tried"])

    async def exec_async(self, asked):
        guess, word, number = asked
        if guess == word:
            return None
        prompt = f"Give a hint for the secret word, without saying it.\nSecret: {word}\nHints so far: {number}"
        return await call_llm_async(prompt, offline=hint_by_rule)

    async def post_async(self, shared, asked, hint):
        await shared["hints"].put(hint)
        return "end" if hint is None or len(shared["tried"]) == MOST_GUESSES else "again"


class Guess(AsyncNode):
    async def prep_async(self, shared):
        hint = await shared["hints"].get()
        told, tried = json.dumps([*shared["told"], hint]), json.dumps(shared["tried"])
        return hint, f"Guess the word, one of Python's builtins; answer it alone.\nHints: {told}\nTried: {tried}"

    async def exec_async(self, asked):
        hint, prompt = asked
        return None if hint is None else (await call_llm_async(prompt, offline=guess_by_rule)).strip()

    async def post_async(self, shared, asked, guess):
        hint, _ = asked
        if guess is None:
            print(f"Found with {len(shared['tried'])} guesses.")
            return "end"
        print(f"hint: {hint}\n  guess: {guess}")
        shared["told"].append(hint)
        shared["tried"].append(guess)
        await shared["guesses"].put(guess)
        return "end" if len(shared["tried"]) == MOST_GUESSES and guess != shared["word"] else "again"


def hint_by_rule(prompt):
    """First the length, then one letter more each time."""
    word, number = re.search(r"Secret: (.*)\nHints so far: (\d+)", prompt).groups()
    return f"it has {len(word)} letters" if number == "0" else f"it begins with {word[: int(number)]}"


def guess_by_rule(prompt):
    """The first name that agrees with every hint."""
    hints, tried = (json.loads(text) for text in re.search(r"Hints: (.*)\nTried: (.*)", prompt).groups())
    return next((name for name in NAMES if name not in tried and all(agrees(name, hint) for hint in hints)), "?")


def agrees(name, hint):
    value = hint.split()[-1] if "begins" in hint else hint.split()[2]
    return name.startswith(value) if "begins" in hint else str(len(name)) == value


def agents():
    hint, guess = Hint(max_retries=3, wait=retry_after), Guess(max_retries=3, wait=retry_after)
    hint - "again" >> hint
    hint - "end" >> AsyncNode()
    guess - "again" >> guess
    guess - "end" >> AsyncNode()
    return AsyncFlow(start=AsyncParallelFlow(hint, guess))


async def play(word):
    shared = {"word": word, "guesses": asyncio.Queue(), "hints": asyncio.Queue(), "told": [], "tried": []}
    await shared["guesses"].put("")  # the guesser's "ready"
    await agents().run_async(shared)
    if word not in shared["tried"]:
        print(f"Not found; it was {word}.")


def main():
    asyncio.run(play(argument("sorted")))


if __name__ == "__main__":
    run(main)
