"""Independent replay with transformers on a CPU or a GPU."""
