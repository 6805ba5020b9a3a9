"""HOST[:PORT], as it is written on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

_HOST = r"\[(?P<bracketed>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[\w.-]+)"
_ADDRESS = re.compile(rf"(?:{_HOST})(?::(?P<port>\d{{1,5}}))?", re.ASCII)
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Host name, IPv4 or IPv6 address, and port."""

    host: str
    port: int

    def __str__(self) -> str:
        """The address as URLs spell it, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LOCAL_HOST = "127.0.0.1"


class AddressType(click.ParamType[Address]):
    """Type of an option whose value is an address."""

    name = "HOST[:PORT]"

    def __init__(self, default_port: int) -> None:
        """Use `default_port` if the address has no port."""
        self._default_port = default_port

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Read an address; fails with click's usage error."""
        text = str(value)
        if _BARE_IPV6.fullmatch(text):
            return Address(text, self._default_port)
        parts = _ADDRESS.fullmatch(text)
        port = int(parts["port"] or self._default_port) if parts else 0
        if parts is None or not 0 < port < 65536:
            self.fail(
                f"{text!r} is not HOST or HOST:PORT (10.1.16.255, node-7:{self._default_port}, [fd00::1]:19102)",
                param,
                ctx,
            )
        return Address(parts["bracketed"] or parts["name"], port)


def agent_option(
    *names: str,
    purpose: str,
    port: int,
    multiple: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that names an agent, with this default port. Without the option it is this node's agent."""
    return click.option(
        "-e",
        "--endpoint",
        *names,
        type=AddressType(port),
        multiple=multiple,
        default=None if multiple else LOCAL_HOST,
        help=f"{purpose} Default: {LOCAL_HOST}, port {port}.",
    )
