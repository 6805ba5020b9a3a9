"""Lines of text on standard error: a queue, and the thread that writes it."""
