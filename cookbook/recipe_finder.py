"""Async nodes and sync nodes in one flow: the program of PocketFlow's tutorial, with an edge for what is unknown.

    python -m cookbook.recipe_finder [INGREDIENT]

While the async node waits for the (simulated, slow) service, the event loop is free for everything
else. Its `post_async` picks the edge by what came back, to a sync node.
"""

import asyncio

from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, Node

RECIPES = {"chicken": ["Pizza", "Pasta", "Salad"], "lentils": ["Dal", "Soup"]}


class FetchRecipes(AsyncNode):
    async def prep_async(self, shared):
        return shared["ingredient"]

    async def exec_async(self, ingredient):
        print(f"🌐 Fetching recipes for '{ingredient}'... (simulating 2 sec delay)")
        await asyncio.sleep(2)
        print(f"✅ Recipes for '{ingredient}' fetched!")
        return RECIPES.get(ingredient, [])

    async def post_async(self, shared, ingredient, recipes):
        shared["recipes"] = recipes
        print(f"Stored recipes for {ingredient}.")
        return "suggest" if recipes else "nothing"


class SuggestRecipe(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"💡 Suggestion: {shared['recipes'][0]}")


class Nothing(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Nothing is known about {shared['ingredient']}; try one of: {', '.join(RECIPES)}")


fetch = FetchRecipes(max_retries=2)
fetch - "suggest" >> SuggestRecipe()
fetch - "nothing" >> Nothing()
flow = AsyncFlow(start=fetch)


def main():
    print("Starting async recipe flow...")
    asyncio.run(flow.run_async({"ingredient": argument("chicken")}))
    print("\nAsync recipe flow finished.")


if __name__ == "__main__":
    run(main)
