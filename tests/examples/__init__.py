"""The examples say what the program has."""
