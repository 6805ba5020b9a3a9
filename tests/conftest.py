"""What all tests share: the fixtures of the fault laboratory, and those of the running kernel."""

from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures", "tests.kernel.fixtures"]

# A machine that has other things to do must not fail a property.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
