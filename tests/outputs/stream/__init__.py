"""The event stream, seen by real gRPC clients."""
