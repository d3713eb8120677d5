"""A model's identity, source and tokenizer, and the check that it can have answered a record."""
