"""Answers that a grammar constrains: the examples, their masks against a real engine's, and the bits that are left."""
