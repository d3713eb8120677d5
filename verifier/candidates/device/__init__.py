"""The reduction of whole rows to candidates on the device that holds them. Imports torch, and Triton if installed."""
