"""Token scores, token verdicts, codes and the noise model that honest replays show.

Imports candidates, model, statistics.
"""
