"""The trusted logger, which records every answer. Imports sampler; never torch."""
