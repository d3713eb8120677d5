"""Checks of an input against the model and the policy, before any replay."""

from collections.abc import Sequence

from weightwarden.logger.engine_profile import EngineProfile, EngineProfileError
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.model.compatibility import UnfitRecord, check_fits
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy


def check_against_model(traffic: Sequence[PlacedRecord], identity: ModelIdentity) -> None:
    """Check every record against the model's vocabulary, context length and adapters.

    Raises:
        UnfitRecord: a record does not fit; the message names file, line (or index in the log) and field.
    """
    for placed in traffic:
        try:
            check_fits(placed.record, identity)
        except UnfitRecord as error:
            raise UnfitRecord(f"{placed.place}: {error}") from None


def check_against_policy(traffic: Sequence[PlacedRecord], policy: BasePolicy) -> None:
    """Check that the policy holds for every record.

    Raises:
        PolicyError: the policy does not hold for a record; the message names file, line and field of the first one.
    """
    for placed in traffic:
        try:
            policy.check_scheme(placed.record)
        except PolicyError as error:
            raise PolicyError(f"{placed.place}: {error}") from None


def check_against_profile(traffic: Sequence[PlacedRecord], profile: EngineProfile, source: str) -> None:
    """Check that every record names this engine profile.

    Args:
        source: where the profile is from, for the message.

    Raises:
        EngineProfileError: a record names another one, or none; the message names file and line of the first one.
    """
    for placed in traffic:
        named = placed.record.engine.profile
        if named != profile.digest():
            raise EngineProfileError(
                f"{placed.place}: engine.profile: {named or 'none'}, and {source} is {profile.digest()}"
            )
