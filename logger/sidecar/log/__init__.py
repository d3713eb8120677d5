"""The sidecar's use of the log: drafts, seeds, draw digests, checkpoints."""
