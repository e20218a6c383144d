"""A chat: a node that loops on itself, with the history in the store.

    python -m cookbook.chat

Type a line and read the answer; an empty line, "bye" or Ctrl-D ends it. Without a model, rules
answer from the documentation of Python, and "again" repeats what was said: the history is real.
"""

from cookbook.llm import call_llm, retry_after
from cookbook.search import documentation, extract
from cookbook.terminal import run
from pocketflow import Flow, Node


class Listen(Node):
    def post(self, shared, prep_res, exec_res):
        line = input("> ").strip()
        if line.lower() in ("", "bye"):
            return "bye"
        shared["messages"].append({"role": "user", "content": line})


class Answer(Node):
    def prep(self, shared):
        return list(shared["messages"])

    def exec(self, messages):
        return call_llm(messages, offline=answer_by_rule)

    def post(self, shared, messages, answer):
        print(answer)
        shared["messages"].append({"role": "assistant", "content": answer})


def answer_by_rule(messages):
    """Look it up; "again" is what the user asked before."""
    said = [message["content"] for message in messages if message["role"] == "user"]
    questions = [line for line in said if line.lower() != "again"]
    pages = documentation().search(questions[-1], 1) if questions else []
    lines = [f"{page.name}: {extract(page.text, questions[-1], 1)[0]}" for page in pages]
    return "\n".join(lines) or "I know nothing about that."


listen, answer = Listen(), Answer(max_retries=3, wait=retry_after)
listen >> answer >> listen
listen - "bye" >> Node()
flow = Flow(start=listen)


def main():
    flow.run({"messages": []})


if __name__ == "__main__":
    run(main)
