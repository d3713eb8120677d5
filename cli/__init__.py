"""Command line: the commands `verify` and `sidecar`."""
