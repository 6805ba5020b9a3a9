"""Drop reasons have the running kernel's names, whatever their numbers are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.probing.drop_reasons import MALFORMED, ORDINARY, PREFIX, DropReasons

LINUX_6_18 = DropReasons(
    {
        "SKB_NOT_DROPPED_YET": 0,
        "SKB_CONSUMED": 1,
        f"{PREFIX}NOT_SPECIFIED": 2,
        f"{PREFIX}NO_SOCKET": 3,
        f"{PREFIX}SOCKET_CLOSE": 4,
        f"{PREFIX}MAX": 130,
        f"{PREFIX}SUBSYS_MASK": 0xFFFF0000,
    },
    {f"{PREFIX}SUBSYS_CORE": 0, f"{PREFIX}SUBSYS_MAC80211_UNUSABLE": 1, f"{PREFIX}SUBSYS_OPENVSWITCH": 3},
)
LINUX_5_17 = DropReasons({f"{PREFIX}NOT_SPECIFIED": 0, f"{PREFIX}NO_SOCKET": 1}, {})
LINUX_5_10 = DropReasons({}, {})


def test_a_reason_has_the_kernels_name_without_its_prefix() -> None:
    assert LINUX_6_18.name(3) == "NO_SOCKET"
    assert LINUX_5_17.name(1) == "NO_SOCKET"
    assert LINUX_5_17.name(0) == "NOT_SPECIFIED"


def test_a_subsystems_own_reason_is_told_by_number() -> None:
    assert LINUX_6_18.name(3 << 16 | 7) == "OPENVSWITCH_7"
    assert LINUX_6_18.name(1 << 16) == "MAC80211_UNUSABLE_0"


def test_a_number_without_a_name_is_shown_as_it_is() -> None:
    assert LINUX_6_18.name(130) == "REASON_130"  # the end of the list is no reason
    assert LINUX_6_18.name(9 << 16 | 7) == f"REASON_{9 << 16 | 7}"
    assert LINUX_5_10.name(3) == "REASON_3"


def test_a_kernel_that_gives_no_reason_says_so() -> None:
    """Before 5.17 there is no argument, and so no number."""
    assert LINUX_5_10.name(0) == "NOT_GIVEN"
    assert LINUX_5_10.ordinary() == []


def test_ordinary_reasons_are_found_by_name() -> None:
    assert LINUX_6_18.ordinary() == [4]
    assert LINUX_5_17.ordinary() == []


@given(st.integers(0, 2**32 - 1))
def test_every_number_has_a_name_of_one_word(number: int) -> None:
    for kernel in (LINUX_6_18, LINUX_5_17, LINUX_5_10):
        assert kernel.name(number).isidentifier()


def test_this_kernels_names_are_unique(kernel: KernelFacts) -> None:
    enumerators = kernel.btf.enumerators("skb_drop_reason")
    reasons = DropReasons(enumerators, kernel.btf.enumerators("skb_drop_reason_subsys"))
    numbers = {number for name, number in enumerators.items() if not name.endswith(("_MAX", "_MASK"))}
    assert len({reasons.name(number) for number in numbers}) == len(numbers)
    assert {reasons.name(number) for number in reasons.ordinary()} <= ORDINARY


def test_the_newest_kernels_have_every_name_that_is_judged(kernel: KernelFacts) -> None:
    """A misspelt name would silently judge nothing; kernels of 6.18 and later know them all."""
    enumerators = kernel.btf.enumerators("skb_drop_reason")
    unknown = {name for name in ORDINARY | MALFORMED if f"{PREFIX}{name}" not in enumerators}
    newest = f"{PREFIX}UNIX_SKIP_OOB" in enumerators
    assert not (newest and unknown), unknown


def test_no_reason_is_judged_twice() -> None:
    assert not ORDINARY & MALFORMED
