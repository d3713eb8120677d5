"""The commands of `verify`, a file each."""
