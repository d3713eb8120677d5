"""The served model: tokenizer, template, limits, defaults, and notices for its operator. Imports prompts, wire."""
