"""A trusted vLLM server as the replayer, spoken to over HTTP; vLLM itself is never imported."""
