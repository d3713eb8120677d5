"""The verifier: replay, scores, verdicts, calibration. Imports sampler and logger; torch only where a model is run."""
