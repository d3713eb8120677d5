"""Agreement of the sidecar's, the verifier's and the engine's text of the same token ids."""
