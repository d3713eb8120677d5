"""The trusted logger: what is recorded of every answer. Imports sampler; never torch."""
