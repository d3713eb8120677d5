"""Honest records edited by simple attacks, and their rates of detection. Makes the demo's traffic."""
