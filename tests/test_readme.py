"""README's commands print what it shows, in this order, on a node of their own; what all pages name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from lab import catalogue
from lab.scenario import cases
from otel_netagent.config.schema import Config, key_of
from tools.console import missing, steps
from tools.picture import PICTURE, faults, text_of
from tools.session import ROOT, Session, agent_running, here

README = (ROOT / "README.md").read_text("utf-8")

NOT_PLAYED = {
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317 make run": "tests/outputs/otlp: there is no such collector here",
    "make stack": "tests/integration/test_stack.py",
    "make truth-table": "tests/faults: the same faults, which take minutes",
}
"""Commands that are not played here, and where they are tried instead."""


@pytest.fixture(scope="module")
def session(_root: None) -> Iterator[Session]:
    with agent_running({"NODE_NAME": "worker-1"}) as session:
        yield session


def test_commands_print_what_the_page_shows(session: Session) -> None:
    played = [step for step in steps(README) if step.command not in NOT_PLAYED]
    assert sum(step.command is not None for step in played) >= 9
    for step in played:
        session.play(step)


def test_inspector_commands_of_the_table_work(session: Session) -> None:
    commands = re.findall(r"^\| `(\.venv/bin/inspector [^`]+)` \|", README, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        [*_, status] = session.run(f"timeout 2 {here(command)} >/dev/null; echo $?")
        assert status in {"0", "124"}, f"{command} ended with {status}"  # 124: it would go on


def test_what_is_not_played_is_on_the_page() -> None:
    assert {step.command for step in steps(README)} >= set(NOT_PLAYED)


def test_faults_are_counted_as_the_laboratory_has_them() -> None:
    [counted] = re.findall(r"^(\d+) faults, (\d+) healthy workloads: ", README, re.MULTILINE)
    assert counted == (str(len(cases(catalogue.FAULTS))), str(len(cases(catalogue.HEALTHY))))


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    lost = [f"{page.name}: {target}" for page in pages for target in _local_links(page) if not _is_there(page, target)]
    assert not lost


def test_every_key_of_the_configuration_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert not [key for key in _keys(Config) if f"\n| `{key}` | " not in page]


def test_picture_shows_what_the_page_shows() -> None:
    lines = text_of(PICTURE.read_text("utf-8"))
    for step in faults(README):
        command = [f"$ {step.command.splitlines()[0]}"] if step.command else []
        cut = [f"{line[:60]}..." for line in (*command, *step.shown)]
        assert missing(cut, lines) is None


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        key = f"{prefix}{key_of(name, field)}"
        if isinstance(field.default, BaseModel):
            yield from _keys(type(field.default), f"{key}.")
        else:
            yield key


def _local_links(page: Path) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")) if "://" not in target]


def _is_there(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in _anchors(file))


def _anchors(page: Path) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
