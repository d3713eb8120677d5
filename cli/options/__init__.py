"""Options that commands share, and what is made of them: replayers, executors, providers, configuration files.

Imports reports.
"""
