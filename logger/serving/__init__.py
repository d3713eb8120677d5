"""Parts that HTTP daemons share: addresses, API keys, limits of connections, bodies, the event log. Imports files."""
