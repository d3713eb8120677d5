"""The table of alternative noise models."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class NoiseModelRow(ResultRow):
    """A noise model, fitted on one half of a series and tried on the other.

    Attributes:
        series: the traffic.
        noise_model: its name.
        sigma_logits: the noise of a logit, or its baseline.
        bits_per_token: the honest likelihood of the judging half; smaller is better.
    """

    series: str
    noise_model: str
    sigma_logits: float
    bits_per_token: float


NOISE_MODELS = ResultsTable[NoiseModelRow](
    Results[NoiseModelRow],
    (
        Column("series", lambda row: row.series, words=True),
        Column("noise model", lambda row: row.noise_model, words=True),
        Column("sigma, logits", lambda row: f"{row.sigma_logits:.4f}"),
        Column("bits a token", lambda row: f"{row.bits_per_token:.5f}"),
    ),
)
