"""Candidate tables: the tokens that could have been drawn at each position, with their scores.

Imports logits, model.
"""
