"""Addresses of the kernel by name and names by address, against a plain reading of /proc/kallsyms."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_netagent.kernel.kallsyms import SymbolsUnreadable
from otel_netagent.kernel.symbols import Symbols

# --- The running kernel's


@pytest.fixture(scope="module")
def table() -> Mapping[int, set[str]]:
    """Names of the functions that begin at each address of the kernel's own text."""
    lines = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    edges = {name: int(address, 16) for address, _, name, *_ in lines if name in ("_stext", "_etext")}
    functions: dict[int, set[str]] = defaultdict(set)
    for address, kind, name, *_ in lines:
        if kind in "tTwW" and edges["_stext"] <= int(address, 16) < edges["_etext"]:
            functions[int(address, 16)].add(name)
    return functions


@pytest.fixture(scope="module")
def starts(table: Mapping[int, set[str]]) -> Sequence[int]:
    return sorted(table)


def without_parts(name: str) -> str:
    return re.sub(r"(\.(cold|(isra|constprop|part)\.\d+))+$", "", name)


@pytest.fixture(scope="module")
def symbols() -> Symbols:
    return Symbols()


def test_every_function_is_found_at_its_first_byte(symbols: Symbols, table: Mapping[int, set[str]]) -> None:
    assert len(table) > 10_000
    unlike = [
        address for address, names in table.items() if symbols.function(address) not in set(map(without_parts, names))
    ]
    assert unlike == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_address_is_in_the_last_function_before_it(
    symbols: Symbols, table: Mapping[int, set[str]], starts: Sequence[int], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(starts) - 2))
    offset = data.draw(st.integers(0, starts[index + 1] - starts[index] - 1))
    name, _, shown = symbols.name(starts[index] + offset).partition("+0x")
    assert name in table[starts[index]]
    assert shown == f"{offset:X}"
    assert symbols.function(starts[index] + offset) == without_parts(name)


@pytest.mark.parametrize("name", ["skb_release_data", "tcp_v4_rcv", "tcp_rcv_state_process"])
def test_a_function_ends_where_the_next_begins(
    symbols: Symbols, table: Mapping[int, set[str]], starts: Sequence[int], name: str
) -> None:
    first = next(address for address in starts if name in table[address])
    span = symbols.span(name).tolist()
    assert [first, min(address for address in starts if address > first)] in [span[at : at + 2] for at in (0, 2, 4, 6)]


def test_what_the_kernel_has_not_has_no_span(symbols: Symbols) -> None:
    assert [symbols.span(name).tolist() for name in ("no_such_function", "", "tcp_v4_rc")] == [NOWHERE] * 3


def test_an_address_of_user_space_is_shown_bare(symbols: Symbols) -> None:
    assert symbols.name(0x5555_1234) == symbols.function(0x5555_1234) == "0x55551234"


# --- Made-up tables

NOWHERE = [0] * 8
TEXT = """\
0000000000001000 T _stext
0000000000001000 T first
0000000000001200 D data
0000000000001300 r constant
0000000000001400 t second
0000000000002000 T third
0000000000003000 T _etext
"""
VETH = "ffffffffc0000100 t in_veth\t[veth]\nffffffffc0000200 t last_of_veth\t[veth]\n"
JITED = "ffffffffc0001000 t bpf_prog_6deef7357e7b4530\t[bpf]\n"
LOADED = "veth 4096 0 - Live 0xffffffffc0000000\n"
MORE = "more 4096 0 - Live 0xffffffffc0008000\n"
IN_MORE = 0xFFFFFFFFC0008010
IN_VETH, LAST_OF_VETH = 0xFFFFFFFFC0000110, 0xFFFFFFFFC0000FFF


def proc(directory: Path, kallsyms: str, modules: str | None = "") -> Path:
    """A /proc that shows these symbols and modules."""
    (directory / "kallsyms").write_text(kallsyms)
    if modules is not None:
        (directory / "modules").write_text(modules)
    return directory


def test_only_functions_have_addresses(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT))
    assert symbols.name(0x1310) == "first+0x310"
    assert symbols.span("data").tolist() == NOWHERE


def test_outside_of_the_text_and_of_every_module_nothing_has_a_name(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT + VETH + JITED, LOADED))
    named = {address: symbols.name(address) for address in (0xFFF, 0x2FFF, 0x3000, 0xFFFFFFFFC0000000, IN_VETH)}
    assert named == {
        0xFFF: "0xfff",
        0x2FFF: "third+0xFFF",
        0x3000: "0x3000",
        0xFFFFFFFFC0000000: "0xffffffffc0000000",  # the module's own, before its first function
        IN_VETH: "in_veth+0x10",
    }
    assert symbols.name(LAST_OF_VETH) == "last_of_veth+0xDFF"
    assert symbols.function(LAST_OF_VETH + 1) == "0xffffffffc0001000"  # a program that the kernel compiled


def test_a_kernel_without_modules_has_no_list_of_them(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT, modules=None))
    assert symbols.name(0x1410) == "second+0x10"
    assert symbols.name(0x4000) == "0x4000"


def test_of_several_functions_of_one_name_the_span_is_of_all(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT + "0000000000001800 t first\n"))
    assert symbols.span("first").tolist() == [0x1000, 0x1400, 0x1800, 0x2000, 0, 0, 0, 0]


PARTS = """\
0000000000001100 t second.cold
0000000000001180 t second.isra.0
0000000000001600 t second.part.12.constprop.3.cold
0000000000001700 t second.suffix
0000000000001780 t second_too.cold
"""


def test_what_compilers_put_elsewhere_is_the_functions_too(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT + PARTS))
    assert symbols.span("second").tolist() == [0x1100, 0x1180, 0x1180, 0x1400, 0x1400, 0x1600, 0x1600, 0x1700]
    assert [symbols.function(address) for address in (0x1101, 0x1181, 0x1401, 0x1601)] == ["second"] * 4
    assert symbols.function(0x1701) == "second.suffix"
    assert symbols.function(0x1781) == "second_too"
    assert symbols.name(0x1608) == "second.part.12.constprop.3.cold+0x8"
    assert symbols.spans(("third", "none")).tolist() == [*symbols.span("third"), *NOWHERE]


def test_several_names_of_one_function_have_one_span(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT + "0000000000001400 T alias\n"))
    assert symbols.span("alias").tolist() == symbols.span("second").tolist() == [0x1400, 0x2000, *NOWHERE[2:]]
    assert symbols.function(0x1410) in ("second", "alias")


def test_the_last_function_of_the_table_has_a_span(tmp_path: Path) -> None:
    start, end, *_ = Symbols(proc(tmp_path, TEXT)).span("_etext")
    assert start == 0x3000 < end


def test_the_end_of_the_text_may_be_data(tmp_path: Path) -> None:
    """As on arm64, whose read-only data begin there."""
    symbols = Symbols(proc(tmp_path, TEXT.replace("T _etext", "D _etext")))
    assert symbols.name(0x1010) == "first+0x10"
    assert symbols.name(0x2FFF) == "third+0xFFF"
    assert symbols.name(0x3001) == "0x3001"


names = st.from_regex(r"[a-z][a-z0-9_.$]{0,9}", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    functions=st.dictionaries(st.integers(0x1001, 0x2FFF), names, min_size=1, max_size=20),
    address=st.integers(0x1000, 0x2FFF),
)
def test_any_table_is_read_back(tmp_path: Path, functions: dict[int, str], address: int) -> None:
    edges = {0x1000: "_stext", 0x3000: "_etext"}
    lines = (f"{start:016x} t {name}\n" for start, name in (functions | edges).items())
    symbols = Symbols(proc(tmp_path, "".join(lines)))
    start = max(each for each in functions | edges if each <= address)
    assert symbols.name(address) == f"{(functions | edges)[start]}+0x{address - start:X}"
    for name in functions.values():
        assert symbols.span(name)[0] in [each for each, its_name in functions.items() if its_name == name]


# --- Modules come and go


def test_a_module_that_comes_is_found_and_one_that_goes_is_not(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT))
    assert symbols.name(IN_VETH) == "0xffffffffc0000110"
    proc(tmp_path, TEXT + VETH, LOADED)
    assert symbols.name(IN_VETH) == "in_veth+0x10"
    proc(tmp_path, TEXT)
    assert symbols.name(IN_VETH) == "0xffffffffc0000110"
    assert symbols.name(0x1010) == "first+0x10"


def test_a_function_of_a_module_that_comes_has_a_span(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT))
    assert symbols.span("in_veth").tolist() == NOWHERE
    proc(tmp_path, TEXT + VETH, LOADED)
    assert symbols.span("in_veth").tolist() == [0xFFFFFFFFC0000100, 0xFFFFFFFFC0000200, *NOWHERE[2:]]
    proc(tmp_path, TEXT)
    assert symbols.span("in_veth").tolist() == NOWHERE


def test_what_was_known_stays_known_when_addresses_are_hidden_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    symbols = Symbols(proc(tmp_path, TEXT + VETH, LOADED))
    proc(tmp_path, re.sub("(?m)^[0-9a-f]{16}", "0" * 16, TEXT + VETH), LOADED + MORE)
    for _ in range(2):
        assert symbols.name(IN_VETH) == "in_veth+0x10"
        assert symbols.name(0x1010) == "first+0x10"
        assert symbols.name(IN_MORE) == hex(IN_MORE)
        assert symbols.span("second").tolist() == [0x1400, 0x2000, *NOWHERE[2:]]
    [warning] = caplog.messages
    assert warning.startswith("functions of the modules that came are shown as addresses: ")
    assert "kernel.kptr_restrict" in warning
    proc(tmp_path, TEXT, MORE)
    assert symbols.name(IN_VETH) == hex(IN_VETH)


def test_a_module_that_goes_while_addresses_are_hidden_is_not_found(tmp_path: Path) -> None:
    symbols = Symbols(proc(tmp_path, TEXT + VETH, LOADED))
    assert symbols.span("in_veth").tolist() == [0xFFFFFFFFC0000100, 0xFFFFFFFFC0000200, *NOWHERE[2:]]
    for modules in (LOADED.replace("veth", "another"), ""):
        proc(tmp_path, re.sub("(?m)^[0-9a-f]{16}", "0" * 16, TEXT), modules)
        assert symbols.span("in_veth").tolist() == NOWHERE
        assert symbols.name(IN_VETH) == hex(IN_VETH)
        assert symbols.span("second").tolist() == [0x1400, 0x2000, *NOWHERE[2:]]


def test_a_module_that_is_loaded_again_at_its_place_is_another(tmp_path: Path) -> None:
    """A newer version of it, of the same size: the kernel makes its directory in sysfs anew."""
    loaded, next_loaded = tmp_path / "module/veth", tmp_path / "veth"
    loaded.mkdir(parents=True)
    symbols = Symbols(proc(tmp_path, TEXT + VETH, LOADED), loaded.parent)
    assert symbols.name(IN_VETH) == "in_veth+0x10"
    next_loaded.mkdir()
    next_loaded.rename(loaded)
    proc(tmp_path, TEXT + VETH.replace("in_veth", "renamed"), LOADED)
    assert symbols.name(IN_VETH) == "renamed+0x10"
    assert symbols.span("in_veth").tolist() == NOWHERE


def test_the_table_is_not_read_again_because_a_module_is_used_more(tmp_path: Path) -> None:
    """It takes a third of a second, and how often a module is used changes all the time."""
    symbols = Symbols(proc(tmp_path, TEXT + VETH, LOADED))
    proc(tmp_path, TEXT + VETH.replace("in_veth", "renamed"), LOADED.replace(" 0 - ", " 3 bridge,vxlan, "))
    assert symbols.name(IN_VETH) == "in_veth+0x10"


# --- What cannot be read


@pytest.mark.parametrize("text", ["", "0000000000000000 T first\n0000000000000000 T second\n"], ids=["empty", "zeros"])
def test_hidden_addresses_are_explained(tmp_path: Path, text: str) -> None:
    """As the kernel shows them to whoever may not know them (kptr_restrict, proc_sys_kernel(5))."""
    with pytest.raises(SymbolsUnreadable) as unreadable:
        Symbols(proc(tmp_path, text))
    assert re.fullmatch(
        rf"{tmp_path}/kallsyms shows no addresses: .*kernel\.kptr_restrict.*CAP_SYSLOG", str(unreadable.value)
    )


def test_a_missing_table_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SymbolsUnreadable, match=rf"^{tmp_path}/kallsyms cannot be read: .*CONFIG_KALLSYMS.*$"):
        Symbols(tmp_path)
