"""The name of an event type or a probe on the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from otel_netagent.unknown_name import advice


class EventNameType(click.ParamType[str]):
    """Type of an option whose value is such a name, known to this version, in either case.

    An agent does not reject unknown names, as the original did not: a misspelt name would show no events, for ever.
    """

    name = "NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a name; fails with click's usage error."""
        name = str(value)
        known = {each.casefold(): each for each in _names()}
        if name.casefold() not in known:
            remedy = advice(name, known.values())
            self.fail(f"{name!r} is neither a type of event nor a probe that has any; {remedy}", param, ctx)
        return name


def _names() -> Iterator[str]:
    """All names by which an agent of this version selects events (outputs/stream/filters.py)."""
    # Imported here: loading all probes takes time.
    from otel_netagent.pipeline.suppressed import EVENTS_SUPPRESSED  # noqa: PLC0415
    from otel_netagent.probes import catalogue  # noqa: PLC0415

    probes = [probe for probe in catalogue().values() if probe.events]
    yield from (probe.name for probe in probes)
    for each in (EVENTS_SUPPRESSED, *(each for probe in probes for each in probe.events)):
        yield from (each.name, *each.aliases)
