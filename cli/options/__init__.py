"""Options that commands share, and the objects made from them: replayers, executors, providers, configuration files.

Imports reports.
"""
