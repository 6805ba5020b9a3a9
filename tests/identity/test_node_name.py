"""What the node is called."""

from __future__ import annotations

import subprocess

from otel_netagent.identity.node_name import node_name


def test_the_name_that_is_given_goes_first() -> None:
    assert node_name({"NODE_NAME": " node-7\n"}) == "node-7"


def test_without_one_it_is_the_hosts() -> None:
    commands = (["cat", "/etc/hostname"], ["uname", "-n"])
    names = [subprocess.run(command, capture_output=True, text=True, check=False).stdout for command in commands]
    assert node_name({"NODE_NAME": " "}) == next(name.strip() for name in names if name.strip())
