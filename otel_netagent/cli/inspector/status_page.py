"""The agent's status, read from `GET /status`."""

from __future__ import annotations

import http.client

import click

from otel_netagent.cli.inspector.address import Address
from otel_netagent.outputs.http.status import AgentStatus

_TIMEOUT_S = 5.0


def read_status(address: Address) -> AgentStatus:
    """Ask the agent at `address`. Raises click.ClickException, with one clear line."""
    code, body = _get(address, "/status")
    if code != http.client.OK:
        raise _stranger(address, f"HTTP status {code}")
    try:
        return AgentStatus.from_json(body)
    except ValueError as error:
        raise _stranger(address, "something other than a status") from error


def _get(address: Address, path: str) -> tuple[int, bytes]:
    """Plain HTTP without a proxy: an agent has an address of the cluster."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise _stranger(address, "something other than HTTP") from error
    except OSError as error:
        raise click.ClickException(
            f"cannot reach {address}: {error.strerror or error}; is the agent running there, "
            f"with metric_config.port {address.port}?"
        ) from error
    finally:
        connection.close()


def _stranger(address: Address, answer: str) -> click.ClickException:
    return click.ClickException(
        f"{address} answers GET /status with {answer}: it is not the HTTP port of an otel-netagent of this version "
        "(metric_config.port)"
    )
