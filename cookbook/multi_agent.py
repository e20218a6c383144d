"""Two agents that talk over queues: one gives hints, one guesses.

    python -m cookbook.multi_agent [WORD]     (the name of a Python builtin, such as "sorted")

Each agent is a node that loops on itself and waits for the other's message; both run at once as
branches of one flow. Without a model, the hints are the number of letters and then one letter at a
time, and the guesser takes the first name that matches every hint so far.
"""

import asyncio
import builtins

from cookbook.llm import call_llm_async, retry_after
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow

MAX_GUESSES = 10
NAMES = sorted(name for name in vars(builtins) if name.islower() and name[0] != "_")
HINT = """
You know the secret word {word}, the name of a Python builtin. Someone guesses it.

Hints so far: {hints}

Give the next hint, in a few words and without the secret word.
"""
GUESS = """
Guess a secret word, the name of a Python builtin.

Hints: {hints}
Wrong guesses: {guesses}

Reply with the word alone.
"""


class Hint(AsyncNode):
    async def prep_async(self, shared):
        guess = await shared["hint_queue"].get()
        return guess, shared["word"], list(shared["hints"])

    async def exec_async(self, inputs):
        guess, word, hints = inputs
        if guess == word:
            return None
        prompt = HINT.format(word=word, hints=listed(hints))
        return await call_llm_async(prompt, offline=lambda: describe(word, hints))

    async def post_async(self, shared, inputs, hint):
        await shared["guess_queue"].put(hint)
        return "end" if hint is None or len(shared["guesses"]) == MAX_GUESSES else "again"


class Guess(AsyncNode):
    async def prep_async(self, shared):
        hint = await shared["guess_queue"].get()
        return hint, [*shared["hints"], hint], list(shared["guesses"])

    async def exec_async(self, inputs):
        hint, hints, guesses = inputs
        if hint is None:
            return None
        prompt = GUESS.format(hints=listed(hints), guesses=listed(guesses))
        answer = await call_llm_async(prompt, offline=lambda: choose(hints, guesses))
        return answer.lower().strip(" .\"'`\n")

    async def post_async(self, shared, inputs, guess):
        hint, *_ = inputs
        if guess is None:
            print(f"Found at guess {len(shared['guesses'])}.")
            return "end"
        print(f"hint: {hint}\n  guess: {guess}")
        shared["hints"].append(hint)
        shared["guesses"].append(guess)
        await shared["hint_queue"].put(guess)
        return "end" if len(shared["guesses"]) == MAX_GUESSES and guess != shared["word"] else "again"


def listed(texts):
    return "; ".join(texts) or "none"


def describe(word, hints):
    """First the number of letters, then one letter each time."""
    return f"it has the letter {word[(len(hints) - 1) % len(word)]}" if hints else f"it has {len(word)} letters"


def choose(hints, guesses):
    """The first name that matches every hint."""
    return next((name for name in NAMES if name not in guesses and all(matches(name, hint) for hint in hints)), "?")


def matches(name, hint):
    return hint == f"it has {len(name)} letters" or hint in [f"it has the letter {letter}" for letter in name]


hint, guess = Hint(max_retries=3, wait=retry_after), Guess(max_retries=3, wait=retry_after)
hint - "again" >> hint
hint - "end" >> None
guess - "again" >> guess
guess - "end" >> None
flow = AsyncFlow(start=AsyncParallelFlow(hint, guess))


async def play(word):
    shared = {"word": word, "hint_queue": asyncio.Queue(), "guess_queue": asyncio.Queue(), "hints": [], "guesses": []}
    await shared["hint_queue"].put("")  # the guesser is ready
    await flow.run_async(shared)
    if word not in shared["guesses"]:
        print(f"Not found; it was {word}.")


def main():
    asyncio.run(play(argument("sorted")))


if __name__ == "__main__":
    run(main)
