"""What all tests share: the fixtures of the fault laboratory."""

pytest_plugins = ["tests.lab.fixtures"]
