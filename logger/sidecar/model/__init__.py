"""The served model: tokenizer, chat template, limits, defaults, and notices for the operator. Imports prompts, wire."""
