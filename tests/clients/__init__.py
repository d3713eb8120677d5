"""Real clients in front of the sidecar, each through its official package, in an environment of their own."""
