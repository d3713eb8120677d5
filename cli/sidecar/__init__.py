"""The `sidecar` command: the trusted logger in front of an inference server. Imports options and reports."""
