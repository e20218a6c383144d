"""`pytest` without arguments runs its tests in two processes beside each other, as most tests keep one core busy.

The second process runs the tests of some folders and writes its reports into a file, from which the first one
shows them as its own. With any argument there is one process, as with `pytest tests`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

FOLDERS = ["command_line", "executors", "journal", "stream"]  # about half of the time of all
REPORTS = "POCKETFLOW_TEST_REPORTS"  # tells the second process the path of the file


def share_tests(config: pytest.Config) -> None:
    """Take part in this, as the first process or as the second one."""
    if reports := os.environ.pop(REPORTS, None):
        config.pluginmanager.register(Second(config, Path(reports)))
    elif not config.invocation_params.args:
        config.pluginmanager.register(First(config))


class Second:
    """Writes the reports, as lines of JSON."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.config, self.file = config, path.open("w")

    def pytest_runtest_logreport(self, report: Any) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        print(json.dumps(data), file=self.file)

    def pytest_unconfigure(self) -> None:
        self.file.close()


class First:
    """Starts the second process, leaves those folders to it, and shows its reports at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.folder = config, tempfile.TemporaryDirectory()
        self.reports = Path(self.folder.name, "reports")
        command = [sys.executable, "-m", "pytest", *(f"tests/{name}" for name in FOLDERS)]
        env, pipe = {**os.environ, REPORTS: str(self.reports)}, subprocess.PIPE
        self.process = subprocess.Popen(
            command, cwd=config.rootpath, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return True if collection_path.name in FOLDERS else None

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        result = yield
        printed, _ = self.process.communicate()
        if self.process.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            pytest.exit(f"the second process ended with {self.process.returncode}:\n{printed}", returncode=1)
        self.show([json.loads(line) for line in self.reports.read_text().splitlines()], session)
        return result

    def show(self, reports: list[Any], session: pytest.Session) -> None:
        hook = self.config.hook
        session.testscollected += len({data["nodeid"] for data in reports})
        for data in reports:
            report = hook.pytest_report_from_serializable(config=self.config, data=data)
            if report.when == "setup":
                hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
            hook.pytest_runtest_logreport(report=report)

    def pytest_unconfigure(self) -> None:
        with self.process, self.folder:
            self.process.kill()  # in case that this one did not come to the end of its tests
