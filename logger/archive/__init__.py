"""Sealed ranges of the log as signed Parquet files. Imports files, formats, tlog."""
