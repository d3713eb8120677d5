"""Honest records edited by simple attacks: how surely they are seen. Makes the demo's traffic."""
