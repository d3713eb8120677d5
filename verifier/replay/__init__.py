"""Replayers: what computes the logits of a recorded answer anew. Imports candidates, logits, model, policy."""
