"""Files that are written whole or not at all, and files that only their owner may read."""
