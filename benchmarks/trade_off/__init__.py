"""The trade-off curve: information that is left to an attacker against honest tokens that are called dangerous."""
