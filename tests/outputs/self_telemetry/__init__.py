"""What the agent says of itself, held against what it was given, by readers that are not its own."""
