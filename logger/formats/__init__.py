"""File and wire formats: canonical records, traffic files, strict JSON, and places of records for messages."""
