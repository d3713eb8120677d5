"""The sidecar's worker processes: what they and the main process tell each other."""
