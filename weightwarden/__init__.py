"""Detects model weights that are stolen through the answers of an inference server."""
