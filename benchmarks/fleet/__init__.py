"""Several models in one verification server: random models, their answers and logs, and servers that are killed."""
