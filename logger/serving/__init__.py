"""Parts that HTTP daemons share: addresses, API keys, bodies, the event log. Imports files."""
