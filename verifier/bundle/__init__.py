"""Bundles of one record with its evidence, which another machine verifies again. Imports policy, replay, scoring and
verification.
"""
