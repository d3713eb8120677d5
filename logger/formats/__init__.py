"""File and wire formats: canonical records, traffic files, strict JSON, and places in them for messages."""
