"""Live progress on a real pseudo terminal: a person sees what runs, and everything that was printed or logged."""

from __future__ import annotations

import json
import re
import tempfile

import pytest

from tests.progress.screen import Screen, on_terminal, screen_after

pytest.importorskip("rich", reason="needs the progress extra: pip install -e '.[progress]'")

START = """
import logging, sys, threading, time
import pocketflow as pf
from pocketflow.progress import Progress
class Call(pf.BatchNode):
    def prep(self, shared): return range(8)
    def exec(self, item): work(item)
def run(node):
    with Progress():
        node.run({})
"""


def without_time(lines: list[str]) -> list[str]:
    return [re.sub(r"[\d.]+ (us|ms|s)\b", "T", line) for line in lines]


def test_all_that_nodes_print_is_there_and_no_bar_is_left():
    program = f"{START}\nwork = lambda item: (print('item', item, flush=True), time.sleep(0.03))\nrun(Call())"
    lines = without_time(screen_after(program))
    assert lines == [*(f"item {item}" for item in range(8)), "Call: done after T, 8 items"]


def test_all_that_is_logged_is_there():
    program = f"""{START}
logging.basicConfig(format="%(message)s")
work = lambda item: (logging.warning("item %s", item), time.sleep(0.03))
run(Call())
logging.warning("after")"""
    lines = without_time(screen_after(program))
    assert lines == [*(f"item {item}" for item in range(8)), "Call: done after T, 8 items", "after"]


def test_words_that_are_printed_as_they_come_make_one_line():
    program = f"{START}\nwork = lambda item: (print(item, end=' ', flush=True), time.sleep(0.03))\nrun(Call())"
    assert without_time(screen_after(program)) == ["Call: done after T, 8 items", "0 1 2 3 4 5 6 7"]


def test_a_line_that_is_longer_than_the_terminal_is_not_cut():
    program = f"{START}\nwork = lambda item: print(f'{{item}}' * 100)\nrun(Call())"
    assert f"{'3' * 100}" in "".join(screen_after(program, columns=80))


def test_what_a_node_writes_into_a_pipe_goes_there():
    with tempfile.TemporaryFile() as file:
        lines = screen_after(f"{START}\nwork = print\nrun(Call())", stdout=file.fileno())
        file.seek(0)
        assert file.read().split() == [b"%d" % item for item in range(8)]
    assert without_time(lines) == ["Call: done after T, 8 items"]


def test_a_batch_has_a_bar_and_the_time_left_while_it_runs():
    program = f"{START}\nwork = lambda item: item < 4 or input()\nrun(Call())"
    seen = frames_until(program, r"Call .*━.* 4/8, .+ s, .+ left")
    assert seen.count("Call ") == 1


def test_numbers_are_whole_on_a_narrow_terminal():
    program = f"{START}\nCall.__name__ = 'Summarize' * 9\nwork = lambda item: item < 4 or input()\nrun(Call())"
    assert frames_until(program, r"Summ.*… .*4/8, [\d.]+ (us|ms|s), [\d.]+ (us|ms|s) left", columns=60)


def test_a_bar_and_a_name_give_way_to_the_numbers():
    program = f"{START}\nwork = lambda item: item < 4 or input()\nrun(Call())"
    assert frames_until(program, r"Ca.* 4/8, [\d.]+ (us|ms|s), [\d.]+ (us|ms|s) left", columns=37)


def test_a_terminal_without_unicode_gets_names_that_fit():
    program = f"{START}\nsys.stderr.reconfigure(encoding='ascii')\nCall.__name__ = 'Summarize' * 9"
    seen = frames_until(f"{program}\nwork = lambda item: item < 4 or input()\nrun(Call())", "4/8, .+ left")
    assert max(map(len, seen.splitlines())) <= 80


def frames_until(program: str, pattern: str, columns: int = 80) -> str:
    """The screen as soon as it shows `pattern`, of a program that waits there."""
    screen, pieces = Screen(), on_terminal(program, columns)
    try:
        for piece in pieces:
            screen.feed(piece)
            if re.search(pattern, shown := "\n".join(screen.shown())):
                return shown
    finally:
        pieces.close()  # type: ignore[attr-defined]  # a generator
    raise AssertionError(screen.shown())


def test_events_of_the_command_line_stand_above_the_live_lines():
    program = f"""{START}
import types
from pocketflow.__main__ import main
work = lambda item: time.sleep(0.06)
sys.modules["job"] = types.SimpleNamespace(flow=pf.Flow(Call()))
main(["run", "job:flow", "--stream", "--progress"])"""
    lines = screen_after(program)
    events = [json.loads(line)["type"] for line in lines if line.startswith("{")]
    assert events.count("item_end") == 8
    assert without_time([line for line in lines if not line.startswith("{")]) == ["Call: done after T, 8 items"]


def test_what_a_forked_process_prints_is_there():
    program = f"""{START}
import os
def work(item):
    child = os.fork()
    if not child:
        print("said by a child", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
run(Call())"""
    assert " ".join(screen_after(program)).count("said by a child") == 8


def test_two_that_overlap_share_the_screen_and_lose_nothing():
    program = f"""{START}
both, ended = threading.Barrier(2), threading.Event()
def work(item):
    print("item", item)
    if item == 4: both.wait(20)
    if item == 5 and threading.current_thread().name == "last": ended.wait(20)
first = threading.Thread(target=lambda: (run(Call()), ended.set()))
threads = [first, threading.Thread(target=lambda: run(Call()), name="last")]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("after")"""
    lines = without_time(screen_after(program))
    assert lines[-2:] == ["Call: done after T, 8 items", "after"]
    assert sorted(lines) == sorted(2 * [*(f"item {n}" for n in range(8)), "Call: done after T, 8 items"] + ["after"])


def test_what_is_kept_of_a_screen_writes_to_the_terminal_when_it_is_over():
    program = f"""{START}
with Progress():
    late, kept = Progress(), sys.stdout
kept.write("kept\\n")
with late:
    Call().run({{}})"""
    work = "\nwork = lambda item: None"
    assert without_time(screen_after(program.replace("\nwith", f"{work}\nwith", 1))) == [
        "kept", "Call: done after T, 8 items",
    ]  # fmt: skip


def test_stdout_stderr_and_logs_are_as_before_when_it_is_over():
    program = f"""{START}
handler = logging.StreamHandler()
logging.getLogger("x").addHandler(handler)
before = sys.stdout, sys.stderr, handler.stream
work = lambda item: None
run(Call())
print(before == (sys.stdout, sys.stderr, handler.stream))"""
    assert screen_after(program)[-1] == "True"
