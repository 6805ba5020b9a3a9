"""The outputs: everything that sends, serves or writes snapshots and events."""
