"""HTTP front of the sidecar: guarded connections, a waiting room, buffered writes."""
