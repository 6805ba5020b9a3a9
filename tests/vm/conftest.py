"""What is in `inside` and `legacy` needs the kernel of a guest: test_kernels.py and test_legacy.py run it there."""

from tests.vm.recorder import IN_GUEST

collect_ignore = [] if IN_GUEST else ["inside", "legacy"]
