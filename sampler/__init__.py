"""Seeded sampling of a token from logits: parameters, support, and the Gumbel noise of each engine.

Imports no other package of the project, and no torch: everything here is NumPy over positions and candidates.
"""
