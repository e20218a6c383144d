"""A chat that remembers more than it sends: a window of recent lines, and what it finds of the older ones.

    python -m cookbook.chat_memory

Only the last two exchanges go to the model in full. Older ones are put into a full text search, and
the one that fits the new line best comes back. Tell it something, chat on, then ask about it.
"""

from cookbook.llm import call_llm, retry_after
from cookbook.search import Index, Page, keywords
from cookbook.terminal import run
from pocketflow import Flow, Node

WINDOW = 2  # exchanges
PROMPT = """
You talk with someone, and remember what they told you.

What they said long ago:
{memories}

The last lines:
{recent}

User: {line}
You:
"""


class Listen(Node):
    def post(self, shared, prep_res, exec_res):
        shared["line"] = input("> ").strip()
        return "talk" if shared["line"] not in ("", "bye") else "bye"


class Recall(Node):
    def prep(self, shared):
        return shared["line"], shared["older"]

    def exec(self, found):
        line, older = found
        index = Index(Page(str(number), f"{said}\n{answer}") for number, (said, answer) in enumerate(older))
        return [older[int(page.name)] for page in index.search(line, 1)]

    def post(self, shared, found, memories):
        shared["memories"] = memories


class Answer(Node):
    def prep(self, shared):
        return shared["memories"], shared["recent"], shared["line"]

    def exec(self, inputs):
        memories, recent, line = inputs
        prompt = PROMPT.format(memories=transcript(memories), recent=transcript(recent), line=line)
        return call_llm(prompt, offline=lambda: remember([*memories, *recent], line))

    def post(self, shared, inputs, answer):
        print(answer)
        shared["recent"].append((shared["line"], answer))


class Archive(Node):
    """What leaves the window goes into the memory."""

    def post(self, shared, prep_res, exec_res):
        shared["older"] += shared["recent"][:-WINDOW]
        shared["recent"] = shared["recent"][-WINDOW:]


def transcript(exchanges):
    return "\n".join(f"User: {said}\nYou: {answer}" for said, answer in exchanges) or "(nothing)"


def remember(exchanges, line):
    """Tell what was said before with the same words, or take note."""
    statements = [said for said, _ in exchanges if not said.endswith("?")]
    matching = [said for said in statements if set(keywords(said)) & set(keywords(line))]
    return f"You said: {matching[0]}" if matching and line.endswith("?") else "I take note."


listen, recall, answer, archive = Listen(), Recall(), Answer(max_retries=3, wait=retry_after), Archive()
listen - "talk" >> recall
recall >> answer >> archive >> listen
listen - "bye" >> None
flow = Flow(start=listen)


def main():
    flow.run({"recent": [], "older": [], "memories": []})


if __name__ == "__main__":
    run(main)
