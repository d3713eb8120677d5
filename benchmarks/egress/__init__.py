"""The account of captures: its speed and memory, real traffic, and smuggling injected into it."""
