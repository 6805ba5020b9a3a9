"""The root cause of an error, for a log line."""

from __future__ import annotations


def root_cause(error: BaseException) -> str:
    """The message of the operating system or of TLS, which HTTP libraries wrap several times."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__
