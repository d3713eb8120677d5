"""The engine of `sidecar run`: from an engine profile, or from options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.logger.grammar.backend import BackendRefused, GrammarBackend
from weightwarden.logger.record import Engine
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.sampler.validation_message import field_and_fault
from weightwarden.text import printable

DEFAULT_ENGINE = "vllm"
_FIELDS = {
    "engine": "engine",
    "engine_version": "version",
    "sampler": "sampler",
    "grammar_backend": "grammar_backend",
}
"""Field of a profile by the option that it replaces."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The engine of a sidecar's server.

    Attributes:
        engine: the engine as records name it.
        grammar_backend: its grammar backend, or None.
        speculative_decoding: whether it speculates by a rule that no draw above temperature 0 can be replayed from.
    """

    engine: Engine
    grammar_backend: GrammarBackend | None
    speculative_decoding: bool


def engine_settings(given: Mapping[str, Any]) -> EngineSettings:
    """The engine for the options.

    Raises:
        SettingsError: an option is missing, is not valid, or contradicts the profile.
        EngineProfileError: the profile cannot be read, or is none.
        BackendRefused: grammars of that backend cannot be verified.
    """
    path: Path | None = given["engine_profile"]
    if path is not None:
        return _of_profile(path, given)
    for option in ("sampler", "engine_version"):
        if given[option] is None:
            raise SettingsError(f"{_flag(option)} is missing: give it, or an --engine-profile, which names it")
    try:
        engine = Engine(
            name=DEFAULT_ENGINE if given["engine"] is None else given["engine"],
            version=given["engine_version"],
            sampler=given["sampler"],
        )
    except ValidationError as error:
        field, what = field_and_fault(error)
        raise SettingsError(f"engine {field}: {what}") from None
    return EngineSettings(
        engine=engine,
        grammar_backend=None if given["grammar_backend"] is None else GrammarBackend.parse(given["grammar_backend"]),
        speculative_decoding=given["speculative_decoding"],
    )


def _of_profile(path: Path, given: Mapping[str, Any]) -> EngineSettings:
    """The engine of a profile, with which the options that it replaces must agree."""
    profile = EngineProfile.read(path)
    for option, field in _FIELDS.items():
        ours, theirs = given[option], getattr(profile, field)
        if ours is not None and ours != theirs:
            stated = "none" if theirs is None else printable(theirs)
            raise SettingsError(
                f"{_flag(option)} {printable(ours)}: {path} has {field} {stated}; leave the option out, or correct one"
            )
    acceptance = None if profile.speculation is None else profile.speculation.acceptance
    if given["speculative_decoding"] and acceptance != "greedy":
        raise SettingsError(
            f"--speculative-decoding: {path} has speculation.acceptance {acceptance or 'none'}, and the option says"
            " greedy; leave the option out, or correct one"
        )
    if (given["adapter"] or given["adapters"]) and not profile.adapters:
        raise SettingsError(f"adapters: {path} says that the server serves none; leave the options out, or correct it")
    try:
        backend = None if profile.grammar_backend is None else GrammarBackend.parse(profile.grammar_backend)
    except BackendRefused as error:
        raise BackendRefused(f"{path}: grammar_backend: {error}") from None
    return EngineSettings(
        engine=profile.of_record(), grammar_backend=backend, speculative_decoding=acceptance == "greedy"
    )


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
