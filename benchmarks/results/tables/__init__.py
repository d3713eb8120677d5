"""The tables of docs/results.md: the row of each, and its columns."""
