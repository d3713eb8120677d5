"""The sidecar: the trusted logger as a daemon in front of an inference server (docs/design.md, section 2).

Imports archive, doctor, files, formats, gate, grammar, model, serving, store, text, tlog.
"""
