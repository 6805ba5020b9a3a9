"""The eBPF sources hold nothing that no program uses."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

from tests.kernel.fixtures import ROOT

COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
MACRO: Final = re.compile(r"^#define (\w+)", re.MULTILINE)
NO_TYPE: Final = re.compile(r"^#.*|\benum \w+ (?=\{)", re.MULTILINE)
"""Directives, and the names of enumerations whose enumerators alone are used."""
TYPES: Final = ROOT / "bpf/include/kernel_types.h"
REASON: Final = "SKB_DROP_REASON_"
"""IS_FOR() puts it before the names that programs use."""
EMPTY_OTHERWISE: Final = {"SK_RST_REASON_NOT_SPECIFIED"}
"""The only enumerator of its enumeration, of which no number is asked."""


def code_of(path: Path) -> str:
    """The source without its comments."""
    return COMMENT.sub("", path.read_text("utf-8")).replace(REASON, "")


SOURCES: Final = {path: code_of(path) for path in ROOT.glob("bpf/**/*.[ch]")}
USES: Final = Counter(word for code in SOURCES.values() for word in re.findall(r"\w+", code))


def test_every_macro_is_used() -> None:
    macros = {macro for code in SOURCES.values() for macro in MACRO.findall(code)}
    assert "ARGUMENT" in macros
    assert sorted(macro for macro in macros if USES[macro] == 1) == []


def test_every_type_and_member_of_the_kernel_is_read() -> None:
    names = set(re.findall(r"[A-Za-z_]\w+", NO_TYPE.sub("", SOURCES[TYPES])))
    assert {"sk_buff", "skc_state", "TCP_CLOSE"} < names
    assert sorted(name for name in names - EMPTY_OTHERWISE if USES[name] == 1) == []
