"""The crash checks, one to a file."""
