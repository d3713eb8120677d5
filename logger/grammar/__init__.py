"""Grammars that constrain answers: their check and their token masks, made in a process that can be killed.

Imports text.
"""
