"""The real command from outside: a process with a configuration, its streams, its ports, its signals, its traces."""
