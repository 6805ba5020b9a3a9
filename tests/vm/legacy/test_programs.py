"""Programs that are loaded where there is no BTF, and not where there is."""

from tests.vm.inside.test_programs import test_every_probe_that_runs_collects, test_the_kernel_has_not_warned

__all__ = ["test_every_probe_that_runs_collects", "test_the_kernel_has_not_warned"]
