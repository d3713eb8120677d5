"""A model folder's configuration: vocabulary, context length and defaults of its kind."""
