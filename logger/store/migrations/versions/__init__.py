"""Migrations of the log's tables, one module a version."""
