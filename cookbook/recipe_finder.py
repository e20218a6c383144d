"""Async nodes: while one waits for an answer, the event loop is free for everything else.

    python -m cookbook.recipe_finder [INGREDIENT]

An async node fetches recipes from a (simulated, slow) service and picks the edge by what came
back; sync nodes stand in the same flow.
"""

import asyncio
import sys

from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncNode, Node

DELAY = 2  # seconds that the simulated service takes
RECIPES = {"chicken": ["Pizza", "Pasta", "Salad"], "lentils": ["Dal", "Soup"]}


class Fetch(AsyncNode):
    async def prep_async(self, shared):
        return shared["ingredient"]

    async def exec_async(self, ingredient):
        print(f"🌐 Fetching recipes for '{ingredient}'... (simulating {DELAY} sec delay)")
        await asyncio.sleep(DELAY)
        print(f"✅ Recipes for '{ingredient}' fetched!")
        return RECIPES.get(ingredient, [])

    async def post_async(self, shared, ingredient, recipes):
        shared["recipes"] = recipes
        print(f"Stored recipes for {ingredient}.")
        return "suggest" if recipes else "nothing"


class Suggest(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"💡 Suggestion: {shared['recipes'][0]}")


class Nothing(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Nothing is known about {shared['ingredient']}; try one of: {', '.join(RECIPES)}")


fetch = Fetch(max_retries=2)
fetch - "suggest" >> Suggest()
fetch - "nothing" >> Nothing()
flow = AsyncFlow(start=fetch)


async def main() -> None:
    print("Starting async recipe flow...")
    await flow.run_async({"ingredient": sys.argv[1] if len(sys.argv) > 1 else "chicken"})
    print("\nAsync recipe flow finished.")


if __name__ == "__main__":
    run(lambda: asyncio.run(main()))
