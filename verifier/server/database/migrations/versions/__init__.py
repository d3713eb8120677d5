"""Migrations of the verdict database, one a version."""
