"""One migration a version."""
