"""Random graphs do what a naive interpreter does."""

from __future__ import annotations

import contextlib
import random
import warnings
from typing import Any

import pytest

import pocketflow as pf
from tests.core.random_graphs import VARIANTS, build, interpret, outcome, plan
from tests.rounds import ROUNDS

GRAPHS = 60 * ROUNDS
KINDS = ["plain", *(["hooked"] if hasattr(pf, "watcher") else [])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_random_graph_does_what_the_naive_interpreter_does(variant: str, kind: str):
    rng, compared = random.Random(7), 0
    with warnings.catch_warnings(), watched(kind):
        warnings.simplefilter("ignore", UserWarning)  # of actions that lead nowhere, which the plans are full of
        for _ in range(GRAPHS):
            graph = plan(rng)
            log: list[Any] = []
            action = interpret(graph, log, {})
            expected = ("too long", log[:200]) if len(log) > 200 else (action, log)
            assert outcome(build(graph, *VARIANTS[variant])) == expected
            compared += len(log) < 200
    assert compared > GRAPHS * 0.5  # most of the graphs end by themselves


def watched(kind: str) -> contextlib.AbstractContextManager[Any]:
    if kind == "plain":
        return contextlib.nullcontext()
    from pocketflow.hooks import Hook

    return Hook()
