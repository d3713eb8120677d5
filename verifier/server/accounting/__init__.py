"""The running accounts of a series: rates, bounds, traffic."""
