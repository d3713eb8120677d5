"""The verification server's HTTP API and its dashboard."""
