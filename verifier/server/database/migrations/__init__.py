"""Migrations of the verdict database."""
