"""The two commands: `otel-netagent` runs the agent, `inspector` looks at a running one."""

import os

# Both commands report gRPC's errors in their own words. gRPC reads this variable when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
