"""The source of a model: a local folder, or the hub."""

from pathlib import Path

from weightwarden.extras import MissingExtra, how_to_add
from weightwarden.logger.errors import ModelError
from weightwarden.text import first_line


def resolve_model(name: str) -> Path:
    """The local folder of a model: a given folder itself, or a hub name's folder from the local cache or the hub.

    Raises:
        ModelError: the name is neither a folder nor a model on the hub.
        MissingExtra: the name is a hub name, and no hub client is installed.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(f"{name}: no such model folder")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtra(f"huggingface_hub is missing: name a folder, or {how_to_add('replay')}") from error

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{name}: no such folder, and the hub does not give it: {first_line(error)}") from error
