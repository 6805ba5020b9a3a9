"""The running agent: composed of its parts, from one configuration to the next, and to its end."""
