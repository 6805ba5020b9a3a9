"""What all tests share: the fixtures of the fault laboratory, and those of the running kernel."""

import os
import re

from hypothesis import settings

pytest_plugins = ["lab.fixtures", "tests.kernel.fixtures"]

# A machine that has other things to do must not fail a property.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Nor must the environment of whoever runs the tests: what the agent and its commands would heed of it is taken away.
_HEEDED = re.compile("OTEL_.*|LOKI_.*|NODE_NAME|KUBECONFIG|NO_COLOR|FORCE_COLOR|COLUMNS|LINES")
for name in filter(_HEEDED.fullmatch, list(os.environ)):
    del os.environ[name]

# A proxy is left to what must be downloaded; the tests talk to this machine only.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"
