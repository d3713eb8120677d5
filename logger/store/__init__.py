"""The log's store: an append-only SQL database. Imports files, formats, tlog."""
