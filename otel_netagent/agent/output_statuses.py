"""What each output does at this moment, by its declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otel_netagent.model.output_status import OutputStatus
from otel_netagent.outputs.declaration import LocalOutput, Loss, Output, Settings
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.instruments import OBSERVABLES
from otel_netagent.outputs.sending.sender import Sender


def output_statuses(
    outputs: Iterable[Output], settings: Settings, senders: Iterable[Sender], agent_state: AgentState
) -> Iterator[OutputStatus]:
    """The state of every output by these settings, with these senders running."""
    targets = {sender.delivery.name: sender.delivery.target for sender in senders}
    for output in outputs:
        where = output.where(settings) if isinstance(output, LocalOutput) else targets.get(output.name, "")
        yield OutputStatus(output.name, where, sum(_count(loss, agent_state) for loss in output.losses))


def _count(loss: Loss, agent_state: AgentState) -> int:
    (instrument,) = (each for each in OBSERVABLES if each.name == loss.instrument)
    points = instrument.points(agent_state)
    return int(sum(value for attributes, value in points if loss.attributes.items() <= attributes.items()))
