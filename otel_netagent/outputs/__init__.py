"""What the agent says (series, snapshots, events) and the outputs that say it, one module each."""
