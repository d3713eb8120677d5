"""A model folder's configuration: vocabulary, context length and the defaults of its model type; low-rank adapters."""
