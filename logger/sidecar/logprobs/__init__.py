"""Log probabilities of answers: a client of the trusted server that gives them, and what it gives."""
