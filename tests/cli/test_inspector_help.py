"""Help of every verb: what it does in one line, and examples that are commands."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from otel_netagent.cli.inspector import main


def commands(command: click.Command, *words: str) -> list[tuple[tuple[str, ...], click.Command]]:
    nested = command.commands.items() if isinstance(command, click.Group) else ()
    return [(words, command), *(each for word, child in nested for each in commands(child, *words, word))]


COMMANDS = commands(main)


@pytest.mark.parametrize(("words", "command"), COMMANDS[1:])
def test_summary_fits_in_the_list_of_verbs(words: tuple[str, ...], command: click.Command) -> None:
    summary = command.get_short_help_str(limit=70)
    assert summary.endswith("."), words
    assert not summary.endswith("..."), words


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS])
def test_examples_are_accepted(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"])
    assert shown.exit_code == 0
    examples = re.findall(r"^    inspector (.*?)(?:   .*)?$", shown.output, re.MULTILINE)
    assert examples
    for example in examples:
        verb: click.Command = main
        arguments = shlex.split(example)
        while isinstance(verb, click.Group):
            verb = verb.commands[arguments.pop(0)]
        if "--dir" not in arguments:  # that one must exist
            verb.make_context(verb.name, arguments)
