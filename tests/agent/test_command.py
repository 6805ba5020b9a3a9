"""The command line of `otel-netagent`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from otel_netagent import __version__
from otel_netagent.config.reading import DEFAULT_PLACES
from tests.agent.command import NETAGENT, Program
from tests.agent.running import Agent


def output_of(*arguments: str) -> str:
    with Program([NETAGENT, *arguments]) as program:
        assert (program.wait(), program.err) == (0, [])
        return "\n".join(program.out)


def test_help_names_the_commands() -> None:
    text = output_of("--help")
    assert "network faults on this node" in text
    assert re.search(r"^  run  Run the agent until SIGTERM or Ctrl-C\.$", text, re.MULTILINE)


def test_help_of_run_names_files_ports_and_endpoint() -> None:
    text = output_of("run", "--help")
    for said in ("-c, --config FILE", *map(str, DEFAULT_PLACES), "9102", "19102", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert said in text
    assert max(map(len, text.splitlines())) <= 80


def test_version() -> None:
    assert output_of("--version") == f"otel-netagent, version {__version__}"


def test_module_is_the_same_command(tmp_path: Path) -> None:
    with Agent(tmp_path, command=(sys.executable, "-m", "otel_netagent")) as agent:
        assert agent.scrape().pods >= {"hostNetwork"}
        assert agent.stop() == 0
    with Program([sys.executable, "-m", "otel_netagent", "--help"]) as program:
        assert program.wait() == 0
        assert "\n".join(program.out).replace("python -m otel_netagent", "otel-netagent") == output_of("--help")
