"""The served model: tokenizer, chat template, form of answers, limits, defaults, and notices for the operator.

Imports constraints, prompts, reading and wire.
"""
