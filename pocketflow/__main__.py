"""The command line: `python -m pocketflow run | draw | check | list | runs | serve`; `--help` says it all."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.pop(0)  # the current folder, where a file may be called like one of Python's modules

import argparse
import asyncio
import contextlib
import io
import ipaddress
import json
import logging
import os
import shlex
import signal
import socket
import threading
import traceback
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pocketflow import AsyncNode, FlowWarning
from pocketflow.modules import NotFound, flow_of, flows_of, module_named, module_of, split
from pocketflow.text import plain, printable

PROGRAM = "python -m pocketflow" if Path(sys.argv[0]).stem == "__main__" else "pocketflow"
TOKEN = "POCKETFLOW_TOKEN"
ASCII = str.maketrans("─│┌┐└┘├┤┬┴┼╭╮╰╯╴╵╶╷▼▲◀●↺", "-|+++++++++++++-|-|v^<o@")  # for a terminal without Unicode
FAILED, UNUSABLE, PAUSED, INTERRUPTED, CLOSED, TERMINATED = 1, 2, 3, 130, 141, 143

DESCRIPTION = f"""\
Run, draw, check and serve flows.

  {PROGRAM} run hello.py:flow --set name=Ada     run a flow on a store
  {PROGRAM} draw hello.py:flow                   its graph, drawn in the terminal
  {PROGRAM} check hello.py:flow                  what would go wrong, without running it
  {PROGRAM} list hello.py                        the flows there
  {PROGRAM} runs runs.db                         the runs that a journal keeps
  {PROGRAM} serve hello.py:flow                  run it from a browser, and see, answer and replay its runs

`{PROGRAM} COMMAND --help` lists the options of a command.
"""
TARGET = """\
file.py:name or package.module:name. The name is that of a flow, of a node, or of a function or class
that makes one without arguments; leave it out if there is only one flow. Or names of modules without
a flow, whose functions make up a dataflow. Modules are looked for in this folder first, and in its
folder pipelines."""
RUN = f"""\
Run a flow, and print its store as JSON when it is done; for a dataflow, print its final values.

Only that goes to stdout, so that you can pipe it; what nodes print goes to stderr. A value that
JSON does not know is printed as its repr. If the flow ended with an action, that is printed on
stderr.

  {PROGRAM} run hello.py:flow --set name=Ada --set 'scores=[1, 2]'
  {PROGRAM} run hello.py:make_flow --shared store.json --trace run.html
  {PROGRAM} run chat.py:flow --set question=Why --stream
  {PROGRAM} run hello_world --with setup --final-vars full_greeting

With a journal, a run that stopped for whatever reason goes on where it stopped: give the same
command again, without --set and --shared:

  {PROGRAM} run report.py:flow --set topic=tea --journal runs.db --run-id tea-1
  {PROGRAM} run report.py:flow --journal runs.db --run-id tea-1 --answer yes
"""
SERVE = f"""\
Serve flows over HTTP, with a page to start, see, answer and replay their runs.

Only this machine can reach it, unless --host says otherwise, which needs a token. Runs go on when
the page is closed. They are kept in the journal, where those of `{PROGRAM} run` are seen as well;
a run that stopped for any reason, even with the server, can be resumed.

  {PROGRAM} serve hello.py:flow --journal runs.db
  {PROGRAM} serve article=article.py:flow hello.py --journal postgresql://flows@db/flows
  {TOKEN}="$(cat token.txt)" {PROGRAM} serve hello.py:flow --host 0.0.0.0
"""
EXITS = f"""\
exit status:
  0    done
  {FAILED}    the flow failed, or check found mistakes
  {UNUSABLE}    the target, the input or the journal cannot be used as asked
  {PAUSED}    the flow waits for an answer, which the next run takes with --answer
  {INTERRUPTED}  interrupted with Ctrl-C
  {CLOSED}  stdout was closed by the program that reads it
  {TERMINATED}  ended by SIGTERM, as cleanly as by Ctrl-C
"""


class _End(Exception):
    """The command ends here, with an exit status, and lines for stderr."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(*lines)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of `sys.argv`, and return its exit status."""
    args = _parser().parse_args(arguments)
    args.stdout = sys.stdout or io.StringIO()  # there is none after `>&-`
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    with _terminable() as signals:
        try:
            with _plain_warnings(), contextlib.redirect_stdout(sys.stderr):
                args.command(args)
                return 0
        except _End as end:
            if args.traceback and end.__cause__ is not None:
                traceback.print_exception(end.__cause__)
            _tell(*end.args)
            return TERMINATED if signals and end.status == INTERRUPTED else end.status
        except KeyboardInterrupt:
            _tell("interrupted")
            return TERMINATED if signals else INTERRUPTED


@contextlib.contextmanager
def _terminable() -> Iterator[list[int]]:
    """Let SIGTERM end a command as Ctrl-C does; the list then holds it."""
    signals: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        on_ctrl_c = signal.getsignal(signal.SIGINT)  # while asyncio runs this is its own, which cancels the run
        if not callable(on_ctrl_c):
            raise KeyboardInterrupt
        on_ctrl_c(signal.SIGINT, frame)

    if threading.current_thread() is not threading.main_thread():  # only there Python lets signals be handled
        yield signals
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with _ctrl_c_handled():
            yield signals
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _ctrl_c_handled() -> Iterator[None]:
    """Have Python's handler of Ctrl-C, and Ctrl-C kept away where it is ignored: shells have what they start with &
    ignore it, and asyncio cancels a run for nothing but this handler."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN or sys.platform == "win32":
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


# The commands


def _run(args: argparse.Namespace) -> None:
    _check_options(args)
    logging.basicConfig(level=args.log_level, format="%(levelname)s %(name)s: %(message)s")
    if args.strict:
        warnings.simplefilter("error", FlowWarning)
    flow, shared = _load(args), _read_shared(args)
    _check_flow(flow, args)
    _check_inputs(flow, shared, args)
    with _journal(args) as journal, _explained(args), _watched(args):
        if args.answer is not None:
            _answer(journal, args)
        action = _execute(flow, shared, journal, args)
    if not args.stream:
        _write(args, _json(args, _result(flow, shared), indent=2))
    if action is not None:
        _tell(f"action: {action}")


def _draw(args: argparse.Namespace) -> None:
    from pocketflow.graph import to_mermaid, to_svg, to_text

    pictures = {"svg": to_svg, "text": to_text, "mermaid": to_mermaid}
    kind = args.kind or ("text" if args.stdout.isatty() else "mermaid")
    picture = pictures[kind](_load(args))
    _write(args, picture if _is_unicode(args) else picture.translate(ASCII))


def _list(args: argparse.Namespace) -> None:
    with _blaming(args.source):
        flows = flows_of(module_of(args.source, base_dir="."))
    for name in flows:
        _write(args, printable(f"{args.source}:{name}"))
    if not flows:
        raise _End(UNUSABLE, f"{args.source}: no flow there")


def _check(args: argparse.Namespace) -> None:
    from pocketflow.graph import check

    findings = check(_load(args))
    for finding in findings:
        _write(args, printable(finding))
    if findings:
        raise _End(FAILED)


def _runs(args: argparse.Namespace) -> None:
    if args.run_id is None and (args.fork is not None or args.delete):
        raise _End(UNUSABLE, "--fork and --delete need a RUN_ID")
    _check_file(args.journal)
    with _journal(args) as journal:
        if args.fork is not None:
            after = int(args.fork) if args.fork.isdecimal() else args.fork
            _write(args, printable(journal.fork(args.run_id, after=after)))
        elif args.delete:
            journal.delete(args.run_id)
        elif args.run_id is None:
            _list_runs(journal, args)
        else:
            _list_history(journal, args)


def _list_runs(journal: Any, args: argparse.Namespace) -> None:
    for run in journal.runs():
        _write(args, printable(f"{run['status']:11} {run['run_id']}"))
        if run["error"] is not None:
            _write(args, printable(f"            {' '.join(run['error'].split())}"))
        for question in run["questions"]:
            _write(args, printable(f"            {question['path']} asks {_json(args, question['question'])}"))


def _list_history(journal: Any, args: argparse.Namespace) -> None:
    for row in journal.history(args.run_id):
        words = [f"{row['n']:4} {row['kind']:6}", row["path"], *_told_of(row, args)]
        _write(args, printable(" ".join(filter(None, words)).rstrip()))


def _told_of(row: dict[str, Any], args: argparse.Namespace) -> Iterator[str]:
    """What a row of the history says, beside where it was."""
    match row["kind"]:
        case "node" | "flow" if row["action"] is not None:
            yield f"-> {row['action']}"
        case "status":
            yield f"-> {row['status']}"
        case "pause":
            yield f"asks {_json(args, row['question'])}"
        case "answer":
            yield f"-> {_json(args, row['value'])}"
            yield f"by {row['by']}" if row["by"] else ""
        case "usage":
            yield from (f"{key}={value}" for key, value in row["event"].items() if key != "type")


def _serve(args: argparse.Namespace) -> None:
    if args.token is None and not _is_loopback(args.host):
        raise _End(UNUSABLE, f"--host {args.host} is reachable from other machines: set a token in {TOKEN}")
    try:
        from pocketflow.serve.server import serve
    except ImportError as error:
        raise _End(UNUSABLE, str(error)) from error
    flows = _load_named(args.target)
    with _journal(args) as journal, _listening(args) as listener:
        studio = _studio(flows, journal, args)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        _write(args, printable(f"serving {', '.join(flows)} on {url}"))  # who comes too early waits at the listener
        raise _End(serve(studio, listener, stuck=_tell_stuck), "stopped")


def _studio(flows: dict[str, Any], journal: Any, args: argparse.Namespace) -> Any:
    from pocketflow.serve import app

    hosts = None if args.token else [args.host]
    try:
        return app(flows, journal, token=args.token, hosts=hosts, limit=args.limit, waiting=args.waiting)
    except ValueError as error:
        raise _End(UNUSABLE, str(error)) from error


def _tell_stuck(run_ids: Sequence[str]) -> None:
    _tell(*(f"{run_id}: a step did not stop in time; resume the run later" for run_id in run_ids))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _load_named(targets: Sequence[str]) -> dict[str, Any]:
    """Flows by their names, of several [NAME=]TARGET."""
    flows: dict[str, Any] = {}
    for target in targets:
        name, equals, named = target.partition("=")
        if not equals:
            named, (source, attribute) = target, split(target)
            name = Path(source).stem if source.endswith(".py") else source.rpartition(".")[2]
            name += f":{attribute}" if attribute not in ("", "flow") else ""
        if name in flows:
            raise _End(UNUSABLE, f"two flows are called {name}: write NAME={named} for one")
        flows[name] = _load(argparse.Namespace(target=[named], with_=[], final_vars=[], reload=False))
    return flows


def _listening(args: argparse.Namespace) -> socket.socket:
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    try:
        return socket.create_server((args.host, args.port), family=family)
    except OSError as error:
        raise _End(UNUSABLE, f"{args.host}:{args.port}: {error}; choose another --host or --port") from error


# What a run is made of


def _execute(flow: Any, shared: dict[str, Any], journal: Any, args: argparse.Namespace) -> Any:
    """Run the flow, and return its action."""
    options = {"run_id": args.run_id, "takeover": args.takeover, "allow_changes": args.allow_changes}
    if args.stream:
        from pocketflow.stream import stream

        events = journal.stream(flow, shared, **options) if journal else stream(flow, shared)
        return asyncio.run(_streamed(events, args))
    if not isinstance(flow, AsyncNode):
        return journal.run(flow, shared, **options) if journal else flow.run(shared)
    return asyncio.run(journal.run_async(flow, shared, **options) if journal else flow.run_async(shared))


async def _streamed(events: AsyncIterator[dict[str, Any]], args: argparse.Namespace) -> Any:
    """Write events as they come; the action is that of the outermost step."""
    action = None
    async with contextlib.aclosing(events) as events:  # type: ignore[type-var]  # an async generator
        async for event in events:
            _write(args, _json(args, event))
            if event["type"] == "node_end" and "/" not in event["path"]:
                action = event["action"]
    return action


@contextlib.contextmanager
def _watched(args: argparse.Namespace) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if args.trace:
            from pocketflow.trace import Trace

            trace = Trace()
            stack.callback(_save, trace, args.trace)
            stack.enter_context(trace)
        if args.progress:
            from pocketflow.progress import Progress

            stack.enter_context(Progress())
            if args.stdout.isatty() and sys.stderr.isatty():
                args.stdout = sys.stdout  # so that events stand above the live lines, and not in them
        yield


def _save(trace: Any, path: str) -> None:
    try:
        trace.save(path)
    except OSError as error:
        _tell(f"{path}: {error.strerror}, so there is no trace")


@contextlib.contextmanager
def _journal(args: argparse.Namespace) -> Iterator[Any]:
    """The journal, opened, with the answer in it; None without one."""
    if args.journal is None:
        yield None
        return
    from pocketflow.journal import Journal, JournalError, Paused

    try:
        with Journal(args.journal) as journal:
            try:
                yield journal
            except Paused as paused:
                raise _End(PAUSED, *_told_questions(journal, args)) from paused
    except JournalError as error:
        raise _End(UNUSABLE, *_lines(error)) from error


def _answer(journal: Any, args: argparse.Namespace) -> None:
    if args.at is None and len(_questions(journal, args)) > 1:
        raise _End(UNUSABLE, f"several questions are waiting in {args.run_id}:", *_told_questions(journal, args))
    journal.answer(args.run_id, _value(args.answer), path=args.at)


def _questions(journal: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    return [question for run in journal.runs() if run["run_id"] == args.run_id for question in run["questions"]]


def _told_questions(journal: Any, args: argparse.Namespace) -> Iterator[str]:
    """Each question that waits, with the command that answers it."""
    questions = _questions(journal, args)
    for question in questions:
        at = ["--at", question["path"]] if len(questions) > 1 else []
        yield f"{question['path']} asks {_json(args, question['question'])}"
        yield f"  answer with: {_command(args, *at)} --answer VALUE"


def _command(args: argparse.Namespace, *more: str) -> str:
    """The command that resumes the run."""
    words = [*args.target, *(["--with", *args.with_] if args.with_ else [])]
    words += ["--final-vars", *args.final_vars] if args.final_vars else []
    words += [f"--{flag}" for flag in ("stream", "progress", "strict") if getattr(args, flag)]
    words += ["--journal", args.journal, "--run-id", args.run_id, *more]
    return f"{PROGRAM} run {shlex.join(words)}"


@contextlib.contextmanager
def _explained(args: argparse.Namespace) -> Iterator[None]:
    """Say why a flow stopped, and how to go on."""
    resume = [f"resume with: {_command(args)}"] if args.journal else []
    try:
        yield
    except KeyboardInterrupt as error:
        raise _End(INTERRUPTED, "interrupted", *resume) from error
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, _End) or (args.journal and _is_of_journal(error)):
            raise  # to those who know what it means
        first, *more = traceback.format_exception_only(error)
        lines = [*first.splitlines(), *(f"  {line}" for note in more for line in note.splitlines())]
        raise _End(FAILED, *lines, *resume) from error


def _is_of_journal(error: BaseException) -> bool:
    from pocketflow.journal import JournalError

    return isinstance(error, JournalError)


def _lines(error: BaseException) -> list[str]:
    """An error, and what its notes say of where it arose."""
    return [str(error), *(f"  {note}" for note in getattr(error, "__notes__", ()))]


def _result(flow: Any, shared: dict[str, Any]) -> Any:
    """What the run was for: the store, or the final values of a dataflow."""
    return {name: shared.get(name) for name in flow.outputs} if _is_dataflow(flow) else shared


def _is_dataflow(flow: Any) -> bool:
    return hasattr(flow, "tasks") and hasattr(flow, "outputs")


# What the user gives


def _load(args: argparse.Namespace) -> Any:
    """The flow or node that the targets name, or the dataflow that modules make."""
    [target, *others] = args.target
    is_alone = not (others or args.with_ or args.final_vars or args.reload)
    is_flow = bool(split(target)[1]) or target.endswith(".py")
    if is_flow and not is_alone:
        raise _End(UNUSABLE, f"{target} is a flow: more targets, --with, --final-vars and --reload are for dataflows")
    with _blaming(*args.target):
        if is_flow or (is_alone and flows_of(module_named(target, base_dir="."))):
            return flow_of(target, base_dir=".")
        return _load_dataflow(args)


def _load_dataflow(args: argparse.Namespace) -> Any:
    from pocketflow.dataflow import Dataflow

    sources = [*args.target, *args.with_]
    for source in sources:
        if ":" in source or source.endswith(".py"):
            raise _End(UNUSABLE, f"{source}: write FILE.py:NAME for a flow; a dataflow is made of names of modules")
    flow = Dataflow(*sources, final_vars=args.final_vars or None, base_dir=".")
    if args.reload:
        flow.execute(final_vars=[], reload=True)  # reads the sources again, and runs nothing
    return flow


@contextlib.contextmanager
def _blaming(*sources: str) -> Iterator[None]:
    """Tell in one line why what the user named cannot be loaded."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, _End):
            raise
        if isinstance(error, NotFound):
            raise _End(UNUSABLE, str(error)) from error
        folders = [Path.cwd(), *(Path(source).resolve().parent for source in sources)]
        raise _End(UNUSABLE, _blamed(error, folders)) from error


def _blamed(error: BaseException, folders: list[Path]) -> str:
    """An error, with the line of the user's code where it arose; without, where none of it had begun to run."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{os.path.relpath(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        is_near = path.is_file() and any(path.is_relative_to(folder) for folder in folders)
        if is_near and "site-packages" not in path.parts and path.parent != Path(__file__).resolve().parent:
            return f"{os.path.relpath(path)}:{frame.lineno}: {type(error).__name__}: {' '.join(str(error).split())}"
    return " ".join(str(error).split())


def _read_shared(args: argparse.Namespace) -> dict[str, Any]:
    shared = {} if args.shared is None else _read_json(args.shared)
    if not isinstance(shared, dict):
        raise _End(UNUSABLE, f'{args.shared}: write a JSON object, as in {{"name": "Ada"}}')
    for setting in args.set:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise _End(UNUSABLE, f"--set {setting}: write --set key=value")
        shared[key] = _value(text)
    return shared


def _read_json(name: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise _End(UNUSABLE, f"{name}: {error.strerror}") from error
    except RecursionError as error:
        raise _End(UNUSABLE, f"{name} is nested too deeply") from error
    except ValueError as error:
        raise _End(UNUSABLE, f"{name} is not JSON: {error}") from error


def _value(text: str) -> Any:
    """A value of the command line: JSON if it is valid JSON, else the text."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and the infinities, which are no JSON


def _check_options(args: argparse.Namespace) -> None:
    """Reject options that would fail only later, and those that would do nothing."""
    if (args.journal is None) != (args.run_id is None):
        raise _End(UNUSABLE, "--journal WHERE and --run-id ID belong together: write both")
    if args.journal is None and (args.answer is not None or args.takeover or args.allow_changes):
        raise _End(UNUSABLE, "--answer, --takeover and --allow-changes need --journal WHERE and --run-id ID")
    if args.at is not None and args.answer is None:
        raise _End(UNUSABLE, "--at PATH says which question --answer VALUE is for: write both")
    if args.answer is not None:
        _check_file(str(args.journal))
    if args.trace and Path(args.trace).suffix.lower() not in (".html", ".json"):
        raise _End(UNUSABLE, f"--trace {args.trace}: write a name that ends in .html or .json")
    if args.trace and not Path(args.trace).parent.is_dir():
        raise _End(UNUSABLE, f"--trace {args.trace}: there is no folder {Path(args.trace).parent}")


def _check_flow(flow: Any, args: argparse.Namespace) -> None:
    """Tell what would go wrong before anything runs; a journal refuses it itself."""
    from pocketflow.graph import check

    findings = [] if args.journal and not args.strict else check(flow)
    if findings and args.strict:
        raise _End(UNUSABLE, *findings)
    _tell(*(f"warning: {finding}" for finding in findings))


def _check_inputs(flow: Any, shared: dict[str, Any], args: argparse.Namespace) -> None:
    """Raise an error for missing inputs of a dataflow before it runs; a resumed run has had its inputs."""
    if not _is_dataflow(flow) or args.journal is not None:
        return
    for output in (output for task in flow.tasks.values() for output in task.outputs if output in shared):
        raise _End(UNUSABLE, f"the input {output!r} is also stored by a task: rename one of them")
    try:
        asyncio.run(flow.prep_async(dict(shared)))
    except (LookupError, ValueError) as error:
        raise _End(UNUSABLE, str(error)) from error


def _check_file(path: str) -> None:
    if "://" not in path and not Path(path).is_file():
        raise _End(UNUSABLE, f"{path}: no such file")


# What the user gets


def _write(args: argparse.Namespace, text: str) -> None:
    """A line on stdout, at once."""
    try:
        print(text, file=args.stdout, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), args.stdout.fileno())  # or Python tells it once more at its end
        if isinstance(error, BrokenPipeError):
            raise _End(CLOSED) from error
        raise _End(FAILED, f"stdout: {error.strerror}") from error


def _tell(*lines: str) -> None:
    """Lines on stderr, of which none steers the terminal."""
    for line in lines:
        print(printable(line.replace("\n", " ")), file=sys.stderr)


def _json(args: argparse.Namespace, value: Any, indent: int | None = None) -> str:
    """A value as JSON, which no terminal takes for a command; what JSON does not know as its repr."""
    try:
        text = json.dumps(plain(value), indent=indent, ensure_ascii=not _is_unicode(args))
    except RecursionError as error:
        raise _End(FAILED, "the result is nested too deeply to be printed") from error
    return "\n".join(map(_escaped, text.split("\n")))


def _is_unicode(args: argparse.Namespace) -> bool:
    return (args.stdout.encoding or "").lower().startswith("utf")


def _escaped(line: str) -> str:
    """A line of JSON with what a terminal would not print as JSON writes it in ASCII."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of flows in one line, without a line of this file as their place."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_plainly(message: Any, category: Any, *place: Any, **more: Any) -> None:
            if issubclass(category, FlowWarning):
                _tell(f"warning: {message}")
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_plainly
        yield


# The words of the command line


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EXITS)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = _add(commands, "run", _run, "run a flow, or go on with a run that stopped", RUN, EXITS)
    _add_target(run)
    _add_input(run)
    _add_watching(run)
    _add_journal(run)
    draw = _add(commands, "draw", _draw, "print the graph of a flow: a picture on a terminal, Mermaid into a pipe")
    _add_target(draw)
    kinds = draw.add_mutually_exclusive_group()
    for kind, what in (("text", "drawn with lines"), ("mermaid", "a Mermaid flowchart"), ("svg", "an SVG picture")):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=what)
    _add_target(_add(commands, "check", _check, "list what would go wrong in a flow, without running it"))
    listing = _add(commands, "list", _list, "list the flows of a file or module, each as a TARGET")
    listing.add_argument("source", metavar="FILE_OR_MODULE", help="file.py or package.module")
    _add_serve(_add(commands, "serve", _serve, "serve flows over HTTP, with a page to run and see them", SERVE))
    runs = _add(commands, "runs", _runs, "list the runs of a journal, or what one run has done")
    runs.add_argument("journal", metavar="WHERE", help="the file, or postgresql://..., that --journal names")
    listed = "list what this run has committed, in its order"
    runs.add_argument("run_id", metavar="RUN_ID", nargs="?", type=_run_id, help=listed)
    after = "print the id of a new run that goes on after this row, or after the last one of this path"
    forking = runs.add_mutually_exclusive_group()
    forking.add_argument("--fork", metavar="AFTER", help=after)
    forking.add_argument("--delete", action="store_true", help="delete the run, with its history")
    return parser


def _add(commands: Any, name: str, command: Any, what: str, description: str = "", epilog: str = "") -> Any:
    text = description or f"{what[0].upper()}{what[1:]}."
    parser = commands.add_parser(name, help=what, description=text, epilog=epilog)
    parser.set_defaults(command=command)
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    return parser


def _add_target(parser: Any) -> None:
    parser.add_argument("target", metavar="TARGET", nargs="+", help=TARGET)
    modules = parser.add_argument_group("dataflows")
    several = {"nargs": "+", "action": "extend", "default": []}
    modules.add_argument(
        "--with",
        dest="with_",
        metavar="MODULE",
        help="more modules; if two functions have the same name, the later one wins",
        **several,
    )
    modules.add_argument("--final-vars", metavar="NAME", help="the values that are wanted; default: all", **several)
    modules.add_argument("--reload", action="store_true", help="re-read the sources instead of Python's cache")


def _add_input(parser: Any) -> None:
    group = parser.add_argument_group("the store")
    setting = "a value that is valid JSON is read as JSON, else as text; wins over --shared; may be repeated"
    group.add_argument("--shared", metavar="FILE", help="a JSON object to begin with; - for stdin")
    group.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=setting)


def _add_watching(parser: Any) -> None:
    group = parser.add_argument_group("watching")
    streamed = "print the events as JSON lines as they happen, in place of the result"
    levels = ["DEBUG", "INFO", "WARNING", "ERROR"]
    group.add_argument("--stream", action="store_true", help=streamed)
    group.add_argument("--progress", action="store_true", help="show on stderr what runs")
    group.add_argument("--trace", metavar="FILE", help="write what ran when: run.html to read, run.json for Perfetto")
    group.add_argument("--strict", action="store_true", help="treat warnings of flows and findings of check as errors")
    group.add_argument("--log-level", choices=levels, default="WARNING", help="the level of the log messages on stderr")


def _add_journal(parser: Any) -> None:
    group = parser.add_argument_group("runs that survive")
    group.add_argument(
        "--journal", metavar="WHERE", help="keep the run in this file, created if needed, or in postgresql://..."
    )
    name = "a name for the run; a run with this name that stopped goes on"
    group.add_argument("--run-id", metavar="ID", type=_run_id, help=name)
    group.add_argument("--answer", metavar="VALUE", help="answer the question that waits, read as in --set, and go on")
    group.add_argument("--at", metavar="PATH", help="which question to answer, if several wait")
    group.add_argument("--takeover", action="store_true", help="take the run from another process that has it")
    group.add_argument("--allow-changes", action="store_true", help="go on even if the graph has changed")


def _add_serve(parser: Any) -> None:
    where = "keep the runs in this file, created if needed, or in postgresql://...; default: only while it serves"
    parser.add_argument("target", metavar="[NAME=]TARGET", nargs="+", help=TARGET)
    parser.add_argument("--journal", metavar="WHERE", help=where)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="the port; 0 for any that is free (%(default)s)")
    token = "what programs send as Authorization: Bearer TOKEN, and the page asks for"
    token += f"; set {TOKEN} to keep it out of the list of processes"
    parser.add_argument("--token", default=os.environ.get(TOKEN), help=token)
    parser.add_argument("--limit", type=_positive, default=8, help="how many runs run at once (%(default)s)")
    parser.add_argument("--waiting", type=_count, default=32, help="how many more may wait (%(default)s)")


def _run_id(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty: write the name of a run")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: write a number up to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not _count(text):
        raise argparse.ArgumentTypeError("0: at least one has to run")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: write a whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
