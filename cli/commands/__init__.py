"""The commands of `verify`, one file each. Imports options, reports."""
