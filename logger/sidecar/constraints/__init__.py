"""Constraints of answers: the grammar of a format, or of calls in a family's own form. Imports reading and wire."""
