"""Prompts as the engine renders them: chat templates, content formats, conversations."""
