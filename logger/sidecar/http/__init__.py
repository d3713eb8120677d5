"""The HTTP front: guarded connections, a room for those that wait, buffered writes."""
