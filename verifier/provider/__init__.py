"""OpenAI-compatible servers of others: asked, and their answers made records."""
