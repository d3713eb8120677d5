"""Cost of grammars: masks a token, their share of a forward pass, and what hostile grammars cost others."""
