"""By which scheme does a server sample? Asked a few seeded requests, it shows."""
