"""Checks of a configuration and its machine before a start. Nothing is changed, and no secret is shown. Imports
archive, files and serving.
"""
