"""A model's tokenizer, shared by the sidecar and the verifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from tokenizers import Tokenizer

from weightwarden.logger.errors import ModelError
from weightwarden.logger.text.continuing import continuing
from weightwarden.logger.text.detokenizer import Detokenizer
from weightwarden.logger.text.special_tokens import SpecialTokens
from weightwarden.logger.text.token_bytes import TokenBytes, check_text, token_bytes_of
from weightwarden.sampler.params import SamplingParams
from weightwarden.text import first_line

TOKENIZER = "tokenizer.json"


def read_tokenizer(folder: Path) -> Tokenizer:
    """A model folder's tokenizer.json with the tokens that its configuration adds, without truncation or padding.

    The class that tokenizer_config.json names is ignored. It tells other software how to rebuild the tokenizer, and is
    wrong for some models (DeepSeek-R1-Distill-Llama).

    Raises:
        ModelError: a file is missing or malformed.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file; the model's fast tokenizer is needed")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise ModelError(f"{path}: not a tokenizer: {first_line(error)}") from None
    SpecialTokens(folder).add_to(tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True)
class ModelTokenizer:
    """Text and token ids of one model.

    Attributes:
        backend: tokenizer of the `tokenizers` library.
        table: bytes of each id.
    """

    backend: Tokenizer
    table: TokenBytes

    @classmethod
    def of(cls, backend: Tokenizer, vocabulary: int) -> "ModelTokenizer":
        """The tokenizer of a backend. For every id its text is compared with the backend's.

        Args:
            backend: tokenizer of the `tokenizers` library.
            vocabulary: width of the model's logits.

        Raises:
            ModelError: the backend decodes in an unsupported way.
        """
        made = cls(backend, token_bytes_of(backend, vocabulary))
        check_text(backend, made.table, partial(made.decode, skip_special_tokens=False))
        return made

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text. Other threads run meanwhile.

        Raises:
            UnicodeEncodeError: the text holds half a surrogate pair.
        """
        text.encode()
        ids: list[int] = self.backend.encode_batch([text], add_special_tokens=add_special_tokens)[0].ids
        return ids

    def encode_answer(self, text: str) -> list[int]:
        """The token ids of a text that continues a prompt.

        Raises:
            UnicodeEncodeError: the text holds half a surrogate pair.
        """
        text.encode()
        ids: list[int] = self._continuing.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool, prompt: Sequence[int] = ()) -> str:
        """The text of token ids that continue a prompt."""
        detokenizer = Detokenizer(self.table, prompt=prompt, skip_special=skip_special_tokens)
        return "".join([*map(detokenizer.add, token_ids), detokenizer.end()])

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> Detokenizer:
        """The detokenizer of an answer to a prompt."""
        return Detokenizer(
            self.table,
            prompt=prompt,
            skip_special=sampling.skip_special_tokens,
            spaces_between_special=sampling.spaces_between_special_tokens,
        )

    @cached_property
    def _continuing(self) -> Tokenizer:
        return continuing(self.backend)

    def token_text(self, token: int) -> str:
        """The text that one token adds to a text that has begun, with U+FFFD for each incomplete character."""
        return self.table.of_id[token].decode(errors="replace") if token < len(self.table.of_id) else ""
