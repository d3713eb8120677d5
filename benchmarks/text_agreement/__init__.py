"""Whether sidecar, verifier and inference engine make the same text of the same token ids."""
