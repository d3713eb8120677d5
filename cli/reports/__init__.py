"""Reports of a run: a summary for the terminal, JSON for programs, one HTML page for people."""
