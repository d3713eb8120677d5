"""Ways past the sidecar: a root process of the inference host tries them in network namespaces of its own."""
