"""What all tests share: the fixtures of the fault laboratory, and those of the running kernel."""

pytest_plugins = ["tests.lab.fixtures", "tests.kernel.fixtures"]
