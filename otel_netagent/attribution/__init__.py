"""Snapshots and events together with the entities that they concern."""
