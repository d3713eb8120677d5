"""The trade-off curve: information left to an attacker against honest tokens judged dangerous."""
