"""What the Makefile calls: finding system packages, writing the reference pages."""
