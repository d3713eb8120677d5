"""The trusted logger as a daemon in front of an inference server (design section 2)."""
