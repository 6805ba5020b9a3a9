"""The event stream: the gRPC service `proto.inspector`, which `inspector watch` and older clients read."""
