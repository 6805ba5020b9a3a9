"""The process that an event is about."""

from __future__ import annotations

from typing import Final

from otel_netagent.model.attribute import Attribute

PROCESS_ID: Final = Attribute("process.pid", int, "process that did it, where one did")
PROCESS_COMMAND: Final = Attribute("process.command", str, "name of its thread")
