"""Rows of logits and the adjustments that requests make to them."""
