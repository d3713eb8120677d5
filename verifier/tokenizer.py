"""A model folder's tokenizer."""

from typing import Any

from logger.errors import ModelError
from sampler.errors import first_line
from verifier.errors import MissingExtra
from verifier.model_identity import ModelIdentity


def load_tokenizer(identity: ModelIdentity) -> Any:
    """The folder's tokenizer, by transformers, without running the folder's code and without torch.

    Raises:
        MissingExtra: transformers is not installed. ModelError: the folder has no tokenizer that it can load.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers is missing: pip install 'weightwarden[vllm]'") from error
    try:
        return transformers.AutoTokenizer.from_pretrained(identity.path, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"{identity.path}: no tokenizer that can be loaded: {first_line(error)}") from error
