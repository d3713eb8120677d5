"""Text and token ids of a model, with the same conversion for the sidecar and the verifier. Imports model."""
