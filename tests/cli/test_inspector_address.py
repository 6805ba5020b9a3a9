"""HOST[:PORT] of the command line."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.cli.inspector.address import Address, AddressType

ADDRESS = AddressType(19102)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.1.16.255", "10.1.16.255", 19102),
        ("10.1.16.255:80", "10.1.16.255", 80),
        ("node-7.example:65535", "node-7.example", 65535),
        ("::1", "::1", 19102),
        ("fd00::1", "fd00::1", 19102),
        ("[fd00::1]", "fd00::1", 19102),
        ("[fd00::1]:80", "fd00::1", 80),
        ("fe80::1%eth0", "fe80::1%eth0", 19102),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", 19102),
    ],
)
def test_forms(text: str, host: str, port: int) -> None:
    assert ADDRESS.convert(text, None, None) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "host:",
        "host:0",
        "host:65536",
        "host:x",
        "host:-1",
        "http://host",
        "a b",
        "[::1",
        "[host]:80",
        "h:1:2",
    ],
)
def test_other_forms_are_refused_with_the_allowed_ones(text: str) -> None:
    with pytest.raises(click.BadParameter) as error:
        ADDRESS.convert(text, None, None)
    assert str(error.value) == (f"{text!r} is not HOST or HOST:PORT (10.1.16.255, node-7:19102, [fd00::1]:19102)")


HOSTS = st.one_of(
    st.ip_addresses().map(str), st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z0-9]{1,9}){0,3}", fullmatch=True)
)


@given(HOSTS, st.integers(1, 65535))
def test_text_of_an_address_reads_back_as_it(host: str, port: int) -> None:
    address = Address(host, port)
    assert ADDRESS.convert(str(address), None, None) == address
    assert ADDRESS.convert(host, None, None) == Address(host, 19102)


@given(st.text())
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        address = ADDRESS.convert(text, None, None)
    except click.BadParameter:
        return
    assert address.host
    assert 0 < address.port < 65536
