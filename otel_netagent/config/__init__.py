"""The configuration: what its file may say, what is wrong with a file, in words, and when it has changed."""
