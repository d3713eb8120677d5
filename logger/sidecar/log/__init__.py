"""The sidecar's side of the log: drafts, seeds, the same draw, checkpoints."""
