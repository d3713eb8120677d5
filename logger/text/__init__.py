"""Text and token ids of a model: one place makes either of the other, for the sidecar and the verifier.

Imports model.
"""
