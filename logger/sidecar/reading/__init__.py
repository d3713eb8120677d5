"""Reading of an answer's own text: reasoning, content and tool calls, by the family of the model's format.

A reading is a function of the text alone, token by token, and adds nothing of the server's. Nothing is repaired: a
malformed call stays text.
"""
