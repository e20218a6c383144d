"""Finding modules, flows and functions by name or file: for dataflows, the command line and servers.

    >>> list(functions_of(module_named("colorsys")))[:2]
    ['rgb_to_yiq', 'yiq_to_rgb']

A target is `package.module:attribute` or `folder/file.py:attribute`; without an attribute it is
the only flow of that module. What a module or a factory raises while it runs is passed on as it
is. If a target cannot be found, a `NotFound` says what there is.

In `sys.path`, a folder with such modules comes after Python's own library, and before what is
installed: a file that happens to be called `json.py` never replaces Python's.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from pocketflow import BaseNode, Flow

__all__ = [
    "NotFound", "closest", "flow_of", "flows_of", "functions_of", "module_named", "module_of", "module_of_file",
    "read_again", "split",
]  # fmt: skip


class NotFound(ImportError):
    """There is no such module, file, flow or attribute, or it is something else; the message has one line."""


# Targets


def split(target: str) -> tuple[str, str]:
    """The source and the attribute of a target; the attribute is "" if there is none.

    >>> split("shop/flow.py:orders.main"), split("shop.flow")
    (('shop/flow.py', 'orders.main'), ('shop.flow', ''))
    """
    source, colon, attribute = target.rpartition(":")
    is_drive = len(source) == 1 and attribute[:1] in ("\\", "/")  # C:\shop\flow.py
    return (source, attribute) if colon and not is_drive else (target, "")


def flow_of(target: str, base_dir: str | Path | None = None) -> Any:
    """The flow or node that a target names, or that the function or class there makes without arguments.

    Other objects that can run are put into a `Flow`. base_dir: as for `module_named`.
    """
    source, attribute = split(target)
    module = module_of(source, base_dir)
    found = _attribute(module, attribute, target) if attribute else _only_flow(module, target)
    value = _made(found, target)
    if not hasattr(value, "_run"):
        raise NotFound(f"{target} is {value!r:.80}, which is neither a flow nor a node")
    return value if isinstance(value, BaseNode) else Flow(start=value)


def module_of(source: str, base_dir: str | Path | None = None) -> ModuleType:
    """The module of a source, which is a file if it ends in ".py", else a name."""
    return module_of_file(source, base_dir) if source.endswith(".py") else module_named(source, base_dir)


def flows_of(module: ModuleType) -> dict[str, Any]:
    """Name -> flow, or function whose annotation says that it makes one, for all of them in a module.

    Names that begin with "_" are private; a flow with two names is listed by the first.
    """
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        is_known = any(value is other for other in found.values())
        if not name.startswith("_") and not is_known and (isinstance(value, Flow) or _makes_flow(value, module)):
            found[name] = value
    return found


def functions_of(module: ModuleType) -> dict[str, Any]:
    """Name -> what becomes a task of a dataflow: the public functions and tasks that a module defines itself."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and _is_own(value, module)}


# Modules


def module_named(name: str, base_dir: str | Path | None = None) -> ModuleType:
    """The module of a name, which is tried as it is, with "_" for "-", and both inside `pipelines`.

    base_dir: a folder whose files come first, even those with the name of a module of Python's.
        None: only what can be imported.
    Raises: `NotFound` with all that was tried; what the module itself raises when it is run.
    """
    if not all(name.split(".")):
        raise NotFound(f"{name!r} is not the name of a module: write package.module, or folder/file.py", name=name)
    plain = list(dict.fromkeys([name, name.replace("-", "_")]))
    tried = [*plain, *(f"pipelines.{candidate}" for candidate in plain)]
    for candidate in tried if base_dir is not None else []:
        path = Path(base_dir or "", f"{candidate.replace('.', '/')}.py")
        if path.is_file():
            _importable(Path(base_dir or ""))
            return module_of_file(path)
    for candidate in tried:
        if _exists(candidate):
            return importlib.import_module(candidate)
    place = "" if base_dir is None else f" in {Path(base_dir).resolve()} or"
    raise NotFound(f"no module {name!r}{place} to import: tried {', '.join(tried)}", name=name)


def module_of_file(path: str | Path, base_dir: str | Path | None = None) -> ModuleType:
    """The module of a file, imported once; files next to it can be imported, too, and those in `base_dir`."""
    path = Path(path).resolve()
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    for folder in (path.parent, base_dir):
        if folder is not None:
            _importable(Path(folder))
    return _run_file(path, path.stem if _is_imported_as(path.stem, path) else f"{path.stem} of {path}")


def read_again(module: ModuleType) -> None:
    """Run the source of a module again, in an empty namespace, as it is on the disk now.

    If that fails, the module is left as it was.
    """
    path = Path(str(getattr(module, "__file__", None)))
    if path.suffix != ".py":
        raise NotFound(f"{module.__name__} has no source to read again: its file is {path}")
    before = dict(vars(module))
    vars(module).clear()
    vars(module).update({name: value for name, value in before.items() if name.startswith("__")})
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except BaseException:
        vars(module).clear()
        vars(module).update(before)
        raise


def closest(name: str, names: Iterable[object]) -> str:
    """What to add to an error about a missing name: " (did you mean 'x'?)", or nothing."""
    matches = difflib.get_close_matches(name, list(map(str, names)), 1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


# Inside


def _run_file(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None  # as the name of the file ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        read_again(module)  # not by the loader, which may take a cached file for a source of the same size and second
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _importable(folder: Path) -> None:
    """Make modules in a folder importable, after Python's own and before those that are installed."""
    entry = str(folder.resolve())
    if entry not in sys.path:
        installed = (n for n, other in enumerate(sys.path) if other.endswith(("site-packages", "dist-packages")))
        sys.path.insert(next(installed, len(sys.path)), entry)


def _exists(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # no such package, or a name that cannot be one
        return False


def _is_imported_as(name: str, path: Path) -> bool:
    """Whether an import of this name would find this very file; then the module is kept under that name."""
    spec = None if name in sys.modules or not _exists(name) else importlib.util.find_spec(name)
    return spec is not None and spec.origin == str(path)


def _is_own(value: Any, module: ModuleType) -> bool:
    function = getattr(value, "function", value) if isinstance(value, BaseNode) else value
    return inspect.isfunction(function) and function.__module__ == module.__name__


def _makes_flow(value: Any, module: ModuleType) -> bool:
    """Whether a function of a module needs no arguments and is annotated to return a flow."""
    if isinstance(value, BaseNode) or not _is_own(value, module) or inspect.iscoroutinefunction(value):
        return False
    try:
        made = inspect.signature(value, eval_str=True).return_annotation
    except Exception:  # whatever the evaluation of a user's annotation raises
        return False
    return inspect.isclass(made) and issubclass(made, Flow) and _needs_nothing(value)


def _needs_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # it needs some, or does not say what it takes
        return False
    return True


def _only_flow(module: ModuleType, target: str) -> Any:
    flows = flows_of(module)
    if len(flows) == 1:
        return next(iter(flows.values()))
    there = (
        f"name one of its flows, as in {target}:{next(iter(flows))}: {', '.join(flows)}" if flows else "no flow there"
    )
    raise NotFound(f"{target}: {there}")


def _attribute(module: ModuleType, attribute: str, target: str) -> Any:
    try:
        return functools.reduce(getattr, attribute.split("."), module)
    except AttributeError:
        nodes = [name for name, value in vars(module).items() if isinstance(value, BaseNode)]
        there = f"flows and nodes there: {', '.join(nodes) or 'none'}"
        raise NotFound(f"{target}: there is no {attribute!r}{closest(attribute, vars(module))}; {there}") from None


def _made(value: Any, target: str) -> Any:
    """What a target means: itself, or what it returns when it is called."""
    if not callable(value) or (hasattr(value, "_run") and not isinstance(value, type)):
        return value
    if inspect.iscoroutinefunction(value):
        raise NotFound(f"{target} is async: name a plain function that makes the flow")
    if not _needs_nothing(value):
        raise NotFound(f"{target} needs arguments: name a function that makes the flow without any")
    return value()
