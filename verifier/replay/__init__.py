"""Replayers, which compute the logits of a recorded answer. Imports candidates, logits, model, policy."""
