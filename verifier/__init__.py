"""The verifier: replay, scores, verdicts and calibration. Imports sampler and logger; torch only where a model is run.
"""
