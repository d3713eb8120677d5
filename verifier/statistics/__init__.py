"""From mismatch rates and token volumes to detection confidence and bandwidth bounds. Needs no torch and no model."""
