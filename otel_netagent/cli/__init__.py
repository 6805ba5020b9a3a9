"""The two commands: `otel-netagent` runs the agent, `inspector` looks at a running one."""
