"""Agreement of the sidecar's chat prompts with vLLM's, over public templates."""
