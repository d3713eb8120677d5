"""Parts that HTTP daemons share: addresses, API keys, request bodies, the event log. Imports files."""
