"""Why something cannot be done; each with the status of HTTP that says so."""

from __future__ import annotations


class Problem(Exception):
    """Something cannot be done as asked; the message says what to do. status: that of HTTP."""

    status = 400


class NotFound(Problem):
    """There is no such run or flow."""

    status = 404


class Conflict(Problem):
    """The state of the run does not allow it, or not any more."""

    status = 409


class Busy(Problem):
    """The server is full: as many runs as may run and wait do so. retry_after: seconds."""

    status, retry_after = 503, 5


class Unreadable(Problem):
    """The journal cannot be read: the message says why."""

    status = 500
