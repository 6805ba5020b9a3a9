"""What flows once it is known whom it concerns: snapshots and events with their entities."""
