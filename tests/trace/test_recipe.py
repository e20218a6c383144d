"""The recipe that traces a run, and the picture of its page, which the README shows.

`python -m tests.trace.test_recipe` takes the picture again.
"""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.cookbook.runner import ROOT, call, run

PICTURE = ROOT / "cookbook" / "trace.png"
WIDTH, HEIGHT = 1280, 860


pytestmark = pytest.mark.usefixtures("at_once")


def test_tracing_prints_what_ran_and_writes_a_page(tmp_path: Path):
    page = tmp_path / "run.html"
    lines = [" ".join(line.split()) for line in run("tracing", str(page)).splitlines()]
    assert lines[0] == "12 pages, without a summary: lambda"
    assert re.fullmatch(r"most common word: \w+, longest summary: \w+", lines[1])  # each Python documents itself anew
    assert [re.sub(r"\+?[\d.]+ (us|ms|s)\b", "T", line) for line in lines[2:-2]] == [
        "Digest T T",
        "Collect T T",
        "Summarize T T 12 items, p50 T, p95 T, longest T, 2 retries",
        "AsyncParallelFlow T T",
        "[0] T T",
        "CommonWord T T",
        "[1] T T",
        "Longest T T",
        "Report T T",
    ]
    assert re.fullmatch(r"[\d,]+ tokens", lines[-2])
    assert lines[-1] == f"Open {page} in a browser."
    assert "TimeoutError('the model is busy')" in page.read_text(encoding="utf-8")


def test_tracing_into_a_folder_that_is_not_there_is_one_line(tmp_path: Path):
    page = tmp_path / "missing" / "run.html"
    status, _, err = call("tracing", str(page))
    assert (status, err) == (2, f"{page}: No such file or directory\n")


def test_the_picture_is_small_and_as_wide_as_a_desktop():
    picture = PICTURE.read_bytes()
    assert len(picture) < 150_000
    assert struct.unpack(">II", picture[16:24]) == (WIDTH, HEIGHT)


def test_tracing_into_a_file_of_another_kind_is_refused_before_anything_runs():
    assert call("tracing", "run.txt") == (2, "", "run.txt: write a name that ends in .html or .json\n")


def take_picture() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "run.html"
        run("tracing", str(page))
        shoot(page)


def shoot(page: Path) -> None:
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(page.as_uri())
        tab.evaluate("() => select(run.start.findIndex((_, span) => path(span).endsWith('exec[2]')))")
        tab.evaluate("() => scrollTo(0, 0)")
        tab.wait_for_timeout(200)
        tab.screenshot(path=PICTURE)


if __name__ == "__main__":
    take_picture()
