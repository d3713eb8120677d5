"""The sentence that names a weak scheme, for the reports of calibration and of runs."""

from weightwarden.sampler.schemes import scheme


def weakness(scheme_name: str, charged: float) -> list[str]:
    """One sentence, or none if the scheme is not weak.

    Args:
        charged: bits a token that the tokens were charged on average.
    """
    if not scheme(scheme_name).speculates:
        return []
    return [
        f"Weak scheme: {scheme_name} accepts drafted tokens by chance, and no record shows the drafts. Every token that"
        f" a draft could give is admissible. Charged: {charged:.4f} bits a token."
    ]
