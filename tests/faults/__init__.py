"""Real faults, and what the agent tells of them."""
