"""What an error comes down to, for a log line."""

from __future__ import annotations


def root_cause(error: BaseException) -> str:
    """The operating system's or TLS's own words, which HTTP libraries wrap several times over."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__
