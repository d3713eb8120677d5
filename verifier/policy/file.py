"""Reader of policy files: strict, with a size limit; an error names the field."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weightwarden.sampler.validation_message import validation_message
from weightwarden.text import suggestion
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.exact import EXACT_FORMAT, ExactPolicy

MAX_POLICY_BYTES = 1 << 20


def read_policy(path: Path) -> BasePolicy:
    """Read a calibrated or exact policy file, according to its `format`.

    Raises:
        PolicyError: the file is unreadable, not TOML, or not a strict policy; the message names the file and the field.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_policy(content, str(path))


def parse_policy(content: bytes, path: str) -> BasePolicy:
    """The policy in the content of a policy file.

    Args:
        content: the bytes.
        path: name of the file, for messages.

    Raises:
        PolicyError: the content is not TOML, or not a strict policy; the message names the file and the field.
    """
    if len(content) > MAX_POLICY_BYTES:
        raise PolicyError(f"{path}: longer than {MAX_POLICY_BYTES} bytes")
    if not content.strip():
        raise PolicyError(f"{path}: empty")
    try:
        fields = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also an integer with too many digits
        raise PolicyError(f"{path}: not TOML: {error or 'nested too deeply'}") from None
    kind: type[BasePolicy] = ExactPolicy if fields.get("format") == EXACT_FORMAT else Policy
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise PolicyError(f"{path}: {validation_message(error)}{_closest_field(kind, error)}") from None


def _closest_field(kind: type[BasePolicy], error: ValidationError) -> str:
    """The suggestion for an unknown field: one of those that its section has."""
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return ""
    schema = kind.model_json_schema()
    section: dict[str, Any] = schema
    for part in first["loc"][:-1]:
        section = section.get("properties", {}).get(part, {})
        section = schema["$defs"].get(str(section.get("$ref", "")).rpartition("/")[2], section)
    return suggestion(str(first["loc"][-1]), section.get("properties", {}))
