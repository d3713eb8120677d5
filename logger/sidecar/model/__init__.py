"""The served model: tokenizer, chat template, limits, defaults, and notices for the operator. Imports constraints, prompts, reading and wire."""
