"""How a token is drawn from logits under a seed: parameters, support, and the noise of each engine.

Imports nothing of the project's other packages, and no torch: everything here is NumPy over positions and candidates.
"""
