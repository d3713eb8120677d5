"""Candidate tables: for each position the tokens that could have been drawn, with their scores.

Imports logits, model.
"""
