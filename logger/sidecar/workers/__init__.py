"""The link between the sidecar's main process, which has the log, and its worker processes. Imports log."""
