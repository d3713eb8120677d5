"""Prompts in the form of the engine's: chat templates, content formats, conversations."""
