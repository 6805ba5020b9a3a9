"""The watch of the node's pods."""
