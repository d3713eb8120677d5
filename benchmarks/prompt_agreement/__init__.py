"""Whether the sidecar makes the prompt of a chat that vLLM itself would make, over public templates."""
