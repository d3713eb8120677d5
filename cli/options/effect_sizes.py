"""Effect sizes of deviating servers from a file (`benchmarks.deviations` writes it), and deviations by name."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weightwarden.errors import WeightwardenError
from weightwarden.sampler.validation_message import validation_message
from weightwarden.verifier.statistics.effect_sizes import BetGrowth, EffectSize

FORMAT: Literal["weightwarden-effect-sizes/1"] = "weightwarden-effect-sizes/1"
MAX_BYTES = 1 << 22

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class EffectSizesError(WeightwardenError, ValueError):
    """A file of effect sizes that cannot be used; the message names the file and the field."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeasuredGrowth(_Part):
    """`BetGrowth`, as stored."""

    bet: Name
    log_share: Annotated[float, Field(le=0)]
    nats_per_record: Positive
    variance_per_record: Annotated[float, Field(ge=0)]


class MeasuredDeviation(_Part):
    """`EffectSize`, as stored."""

    deviation: Name
    rate: Positive | None
    tokens: Count
    records: Count
    nats_per_token: float
    growths: list[MeasuredGrowth]


class EffectSizesFile(_Part):
    """A file of effect sizes.

    Attributes:
        model: the model that was measured.
        policy: digest of the policy that judged.
        prompt_tokens_per_output_token: prompt tokens that the verifier read for each output token.
        environment: machine and versions.
        command: command line.
        settings: settings that the figures depend on, with the seeds.
        deviations: the measured deviations.
    """

    format: Literal["weightwarden-effect-sizes/1"]
    model: Name
    policy: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    prompt_tokens_per_output_token: Annotated[float, Field(ge=0)]
    environment: dict[str, str]
    command: str
    settings: dict[str, int | float | str | None]
    deviations: Annotated[list[MeasuredDeviation], Field(min_length=1)]

    def sizes(self) -> list[EffectSize]:
        """The effect sizes."""
        return [
            EffectSize(
                deviation=of.deviation,
                rate=of.rate,
                tokens=of.tokens,
                records=of.records,
                nats_per_token=of.nats_per_token,
                growths=[BetGrowth(**growth.model_dump()) for growth in of.growths],
            )
            for of in self.deviations
        ]


def read_effect_sizes(path: Path | None) -> EffectSizesFile:
    """The effect sizes in a file; those of the embedded model where none is given.

    Raises:
        EffectSizesError: the file is unreadable, too large, or holds no effect sizes.
    """
    try:
        if path is None:
            content = (files("weightwarden.cli") / "bundled" / "effect-sizes.json").read_bytes()
        else:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise EffectSizesError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise EffectSizesError(f"{path}: longer than {MAX_BYTES} bytes")
    try:
        return EffectSizesFile.model_validate_json(content)
    except ValidationError as error:
        raise EffectSizesError(f"{path}: {validation_message(error)}") from None


class DeviationName(click.ParamType[tuple[str, float | None]]):
    """A deviation with its size, as in `substitution:0.01`, or without."""

    name = "deviation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float | None]:
        """The name and the size, None where none is given."""
        if isinstance(value, tuple):
            return value
        name, colon, size = str(value).partition(":")
        if not colon:
            return name, None
        try:
            rate = float(size)
        except ValueError:
            rate = 0.0
        if not 0 < rate < 1e30:
            self.fail(f"{value!r}: {size!r} is no number above 0", param, ctx)
        return name, rate
