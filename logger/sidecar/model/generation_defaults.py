"""Sampling defaults of a model's generation_config.json, read as vLLM reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weightwarden.logger.errors import ModelError
from weightwarden.logger.formats.vllm_request import DEFAULTED
from weightwarden.logger.model.config import GENERATION_CONFIG
from weightwarden.logger.sidecar.wire.requests import Request
from weightwarden.sampler.validation_message import field_and_fault
from weightwarden.text import printable


@dataclass(frozen=True, kw_only=True)
class GenerationDefaults:
    """Defaults for requests to a model.

    Attributes:
        sampling: sampling parameters, by name.
        answer_length: largest number of tokens of a chat's answer; None where only the context limits it.
    """

    sampling: Mapping[str, Any] = field(default_factory=dict)
    answer_length: int | None = None


def generation_defaults(folder: Path, config: Mapping[str, Any]) -> GenerationDefaults:
    """The defaults in a generation_config.json. `do_sample` is ignored, and null counts as absent.

    Raises:
        ModelError: a value is invalid for every request; vLLM would refuse each request that does not override it.
    """
    sampling = {name: value for name in DEFAULTED if (value := config.get(name)) is not None}
    length = config.get("max_new_tokens")
    try:
        read = Request.model_validate({"model": "any", "max_tokens": length, **sampling})
    except ValidationError as error:
        name, what = field_and_fault(error)
        name = "max_new_tokens" if name == "max_tokens" else str(name)
        raise ModelError(
            f"{folder / GENERATION_CONFIG}: {name}: {printable(repr(config[name]))[:64]}: {what}; correct it, or start"
            " the sidecar with --sampling-defaults neutral, and vLLM with --generation-config vllm"
        ) from None
    return GenerationDefaults(sampling={name: getattr(read, name) for name in sampling}, answer_length=read.max_tokens)
