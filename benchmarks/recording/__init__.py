"""Traffic recorded from real servers, and the servers themselves."""
