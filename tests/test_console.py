"""What a page shows of a terminal is read as it is meant, and compared by its shape."""

from __future__ import annotations

import pytest

from tools.console import Step, missing, steps

PAGE = """Text, and `code`.

```console
$ first --option
one
two
$ second '
> of two lines'
```

```text
type=A pod=b
```

```yaml
$ not: a command
```
"""


def test_commands_and_lines_are_found_in_their_order() -> None:
    assert list(steps(PAGE)) == [
        Step("first --option", ("one", "two")),
        Step("second '\nof two lines'", ()),
        Step(None, ("type=A pod=b",)),
    ]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("sport=50478", "sport=1"),
        ("f+0x91 ...", "f+0x28 g+0x1 h"),
        ("a  b", "a      b   "),
        ("kernel 6.18.44, x", "kernel 6.1-cloud, x"),
    ],
)
def test_numbers_spaces_and_dots_stand_for_others(shown: str, printed: str) -> None:
    assert missing([shown], [printed]) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("reason:NO_SOCKET", "reason:NO_ROUTE"), ("a.b", "axb"), ("value 1", "value"), ("a", "a and more")],
)
def test_anything_else_must_be_the_same(shown: str, printed: str) -> None:
    assert missing([shown], [printed]) == shown


def test_lines_must_come_in_the_order_that_is_shown() -> None:
    assert missing(["a", "c"], ["a", "b", "c"]) is None
    assert missing(["c", "a"], ["a", "b", "c"]) == "a"
