"""The command that makes the tables of docs/results.md (`benchmarks.results.page`)."""

from benchmarks.results.page import main

main()
