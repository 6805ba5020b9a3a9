"""The two commands: `otel-netagent` runs the agent, `inspector` looks at a running one."""

import os

# What gRPC has to say, both commands say in their own words. It reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
