"""Tokenizer of a model folder, for the verifier."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from weightwarden.extras import needs_extra
from weightwarden.logger.errors import ModelError
from weightwarden.logger.text.end_ids import own_end_id
from weightwarden.logger.text.tokenizer import TOKENIZER, ModelTokenizer, read_tokenizer
from weightwarden.text import first_line
from weightwarden.verifier.model.identity import ModelIdentity


@dataclass(frozen=True)
class FolderTokenizer(ModelTokenizer):
    """The tokenizer of a model folder. The logger's code makes text; transformers renders chat templates.

    Attributes:
        folder: folder of the model.
    """

    folder: Path

    def apply_chat_template(self, messages: Sequence[Any], **options: Any) -> Any:
        """The rendering of a chat by `transformers`."""
        return self._rendering.apply_chat_template(messages, **options)

    @property
    def eos_token_id(self) -> int | None:
        return own_end_id(self.folder, self.backend)

    @cached_property
    def _rendering(self) -> Any:
        return _by_transformers(self.folder)


def load_tokenizer(identity: ModelIdentity) -> FolderTokenizer:
    """The folder's tokenizer, without running the folder's code and without torch.

    In a folder without a tokenizer.json, transformers makes one from the other files.

    Raises:
        MissingExtra: transformers is needed, and not installed.
        ModelError: the folder has no tokenizer that can be loaded.
    """
    folder = identity.path
    if (folder / TOKENIZER).exists():
        backend = read_tokenizer(folder)
    else:
        made_of_files: Tokenizer | None = getattr(_by_transformers(folder), "backend_tokenizer", None)
        if made_of_files is None:
            raise ModelError(f"{folder}: there is no {TOKENIZER}, and none can be made of the other files")
        backend = copy.deepcopy(made_of_files)
        backend.no_truncation()
        backend.no_padding()
    made = ModelTokenizer.of(backend, identity.vocabulary)
    return FolderTokenizer(made.backend, made.table, folder)


def _by_transformers(folder: Path) -> Any:
    with needs_extra("vllm"):
        import transformers
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"{folder}: no tokenizer that can be loaded: {first_line(error)}") from error
