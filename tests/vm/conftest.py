"""What is in `inside` needs the kernel of a guest: tests/vm/test_kernels.py runs it there."""

from tests.vm.recorder import IN_GUEST

collect_ignore = [] if IN_GUEST else ["inside"]
