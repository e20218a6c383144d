"""Tool calling with the chat completions protocol: the model asks for calls and gets their results.

    python -m cookbook.tool_calling "What is (17 + 4) * 2, and how many days are left this year?"

A tool is a function with types and a docstring, from which its description for the model is made. An
error of a tool goes back to the model as text, so that it can try again. Without a model, rules find
the sums and dates in the question.
"""

import ast
import datetime
import inspect
import json
import operator
import re

from cookbook.llm import asking_for, call_with_tools, retry_after
from cookbook.terminal import argument, run
from pocketflow import BatchNode, Flow, Node

MAX_ROUNDS = 5
SYSTEM = {"role": "system", "content": "Use the tools for whatever they can do, then answer in one sentence."}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def calculate(expression: str) -> float:
    """Work out an arithmetic expression, such as (2 + 3) * 4."""

    def value(node):
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left, op, right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](value(left), value(right))
        raise ValueError(f"not arithmetic: {ast.unparse(node)}")

    return value(ast.parse(expression.strip(), mode="eval").body)


def days_until(date: str) -> int:
    """How many days there are from today to a date (YYYY-MM-DD)."""
    return (datetime.date.fromisoformat(date) - datetime.date.today()).days


TOOLS = {function.__name__: function for function in (calculate, days_until)}
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema(function):
    """The description of a tool for the model: its name, its docstring, and its parameters as JSON Schema."""
    signature = inspect.signature(function, eval_str=True).parameters.values()
    properties = {parameter.name: {"type": TYPES[parameter.annotation]} for parameter in signature}
    required = [parameter.name for parameter in signature if parameter.default is parameter.empty]
    parameters = {"type": "object", "properties": properties, "required": required}
    about = {"name": function.__name__, "description": inspect.getdoc(function), "parameters": parameters}
    return {"type": "function", "function": about}


class Ask(Node):
    def prep(self, shared):
        return list(shared["messages"])

    def exec(self, messages):
        tools = [schema(function) for function in TOOLS.values()]
        return call_with_tools([SYSTEM, *messages], tools, offline=lambda: next_message(messages))

    def post(self, shared, messages, message):
        shared["messages"].append(message)
        asked = sum(message["role"] == "assistant" for message in shared["messages"])
        return "call tools" if message.get("tool_calls") and asked <= MAX_ROUNDS else "answer"


class CallTools(BatchNode):
    def prep(self, shared):
        return shared["messages"][-1]["tool_calls"]

    def exec(self, call):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        try:
            return str(TOOLS[name](**json.loads(arguments)))
        except Exception as error:  # whatever it is, the model may know better next time
            return f"error: {type(error).__name__}: {error}"

    def post(self, shared, calls, results):
        for call, result in zip(calls, results, strict=True):
            print(f"{call['function']['name']}({call['function']['arguments']}) -> {result}")
            shared["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": result})


class Answer(Node):
    def post(self, shared, prep_res, exec_res):
        print(shared["messages"][-1].get("content") or "No answer.")


def next_message(messages):
    """What the rules say next: first calls for all that the question has in it, then what they gave."""
    question, *rest = messages
    if not rest:
        return call_message(question["content"])
    asked, *results = rest
    pairs = zip(asked["tool_calls"], results, strict=True)
    told = [in_words(call["function"], result["content"]) for call, result in pairs]
    return {"role": "assistant", "content": f"{', and '.join(told)}."}


def call_message(question):
    sums = re.findall(r"[(\d][\d\s.()+*/-]*[\d)]", re.sub(r"\d{4}-\d\d-\d\d", "", question))
    dates = re.findall(r"\d{4}-\d\d-\d\d", question)
    if "this year" in question:
        dates.append(f"{datetime.date.today().year}-12-31")
    calls = [("calculate", {"expression": text}) for text in sums] + [("days_until", {"date": date}) for date in dates]
    return asking_for(calls) if calls else {"role": "assistant", "content": "There is nothing to work out in that."}


def in_words(function, result):
    [value] = json.loads(function["arguments"]).values()
    if result.startswith("error: "):
        return f"{value} gave an {result}"
    return f"{value} is {result}" if function["name"] == "calculate" else f"there are {result} days until {value}"


ask = Ask(max_retries=3, wait=retry_after)
ask - "call tools" >> CallTools() >> ask
ask - "answer" >> Answer()
flow = Flow(start=ask)


def main():
    question = argument("What is (17 + 4) * 2, and how many days are left this year?")
    flow.run({"messages": [{"role": "user", "content": question}]})


if __name__ == "__main__":
    run(main)
