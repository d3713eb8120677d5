"""A trusted vLLM server as the replayer, over HTTP. vLLM itself is never imported."""
