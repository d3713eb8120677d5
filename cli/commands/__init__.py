"""The commands of `verify`, a file each. Imports options, reports."""
