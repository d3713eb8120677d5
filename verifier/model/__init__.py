"""A model's identity, where it is loaded from, its tokenizer, and which records it can have answered."""
