"""The OpenAI API on the wire: strictly parsed requests, responses, and their description.

Imports logprobs, prompts and reading.
"""
