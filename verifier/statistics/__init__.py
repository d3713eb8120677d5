"""Detection confidence and bandwidth bounds from mismatch rates and token volumes. Needs no torch and no model."""
