"""Seeded sampling of a token from logits: parameters, support, and the noise of each engine.

Imports nothing of the project's other packages, and no torch: everything here is NumPy over positions and candidates.
"""
