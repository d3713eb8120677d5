"""The commands of `verify`, one file each."""
