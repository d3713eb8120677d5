"""The running accounts of a series: rates, bounds, traffic. Imports audit, database."""
