"""A chat: two nodes in a loop, with the history in the store.

    python -m cookbook.chat

Type a line and read the answer; an empty line, "bye" or Ctrl-D ends it. Without a model the answers
come from the documentation of Python, and "again" repeats the last question, from the history.
"""

from cookbook.llm import call_llm, retry_after
from cookbook.search import documentation, quote
from cookbook.terminal import run
from pocketflow import Flow, Node

SYSTEM = {"role": "system", "content": "You help people who learn Python. Answer in two sentences."}


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
        return call_llm([SYSTEM, *messages], offline=lambda: look_up(messages))

    def post(self, shared, messages, answer):
        print(answer)
        shared["messages"].append({"role": "assistant", "content": answer})


def look_up(messages):
    """What the documentation says; "again" is what the user asked before."""
    questions = [message["content"] for message in messages if message["role"] == "user"]
    question = next((line for line in reversed(questions) if line.lower() != "again"), "")
    return quote(documentation().search(question, 1), question) or "I know nothing about that."


listen, answer = Listen(), Answer(max_retries=3, wait=retry_after)
listen >> answer >> listen
listen - "bye" >> None
flow = Flow(start=listen)


def main():
    flow.run({"messages": []})


if __name__ == "__main__":
    run(main)
