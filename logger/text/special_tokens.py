"""A tokenizer's special tokens by its configuration files, read in the same order as in transformers 5.

Source: transformers 5.19, `tokenization_utils_base.py` (`_from_pretrained`) and `tokenization_utils_tokenizers.py`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import read_json
from weightwarden.text import printable

STANDARD = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class SpecialTokens:
    """The special tokens that a model folder's configuration names.

    Attributes:
        named: text of each named token, which templates read as variables, for example `bos_token`.
        unsaid: standard names that the configuration omits. A name that is null is not among them: it has no token.
    """

    def __init__(self, folder: Path) -> None:
        """The tokens of a model folder.

        Raises:
            ModelError: a file cannot be read, or a token is no text.
        """
        self._path = folder / "tokenizer_config.json"
        config = read_json(self._path) if self._path.exists() else {}
        self._decoder: Any = config.get("added_tokens_decoder")
        self._listed = _extra(config)
        raw = _named(config)
        older = folder / "special_tokens_map.json"
        if self._decoder is None and older.exists():
            said = read_json(older)
            raw |= _named(said)
            if not self._listed or isinstance(said.get("extra_special_tokens"), list):
                self._listed = [*self._listed, *_extra(said)]
        self._ids = folder / "added_tokens.json"
        order = [*(name for name in STANDARD if name in raw), *(name for name in raw if name not in STANDARD)]
        self._raw = {name: raw[name] for name in order if raw[name] is not None}
        self.named = {name: self._text(name, token) for name, token in self._raw.items()}
        self.unsaid = frozenset(STANDARD) - raw.keys()

    def add_to(self, tokenizer: Tokenizer) -> None:
        """Add the configuration's tokens that tokenizer.json lacks, with the next ids.

        Existing tokens get the configuration's flags.

        Raises:
            ModelError: an entry is no token.
        """
        tokens = list(self._of_decoder() if self._decoder is not None else self._of_ids(tokenizer))
        known = {token.content for token in (*tokenizer.get_added_tokens_decoder().values(), *tokens)}
        seen: list[Any] = []
        for name, token in [*self._raw.items(), *(("extra_special_tokens", token) for token in self._listed)]:
            added = self._token(name, token, special=True)
            if added.content and added.content not in known and token not in seen:
                tokens.append(added)  # the last entry of a repeated token decides its flags
                seen.append(token)
        tokenizer.add_tokens(tokens)

    def _of_decoder(self) -> Iterable[AddedToken]:
        name, named = "added_tokens_decoder", set(self.named.values())
        try:
            entries = sorted((int(i), token) for i, token in self._decoder.items())
        except (AttributeError, TypeError, ValueError):
            raise ModelError(f"{self._path}: {name}: not tokens by id") from None
        for _, token in entries:
            yield self._token(name, token, special=True if self._text(name, token) in named else None)

    def _of_ids(self, tokenizer: Tokenizer) -> Iterable[AddedToken]:
        """The tokens of an added_tokens.json that tokenizer.json lacks."""
        if not self._ids.exists():
            return
        special = {*self.named.values(), *(self._text("extra_special_tokens", token) for token in self._listed)}
        there = tokenizer.get_added_tokens_decoder()
        for content, i in sorted(read_json(self._ids).items(), key=lambda entry: str(entry[1])):
            if i not in there:
                yield AddedToken(content, normalized=content not in special, special=content in special)

    def _token(self, name: str, token: Any, *, special: bool | None) -> AddedToken:
        content = self._text(name, token)
        flags = {key: bool(token[key]) for key in _FLAGS if key in token} if isinstance(token, dict) else {}
        return AddedToken(content, **(flags if special is None else {**flags, "special": special}))

    def _text(self, name: str, token: Any) -> str:
        """A token's text, given as text or as an object."""
        content = token.get("content") if isinstance(token, dict) else token
        if not isinstance(content, str):
            raise ModelError(f"{self._path}: {printable(name)}: {printable(json.dumps(token)[:64])} is not a token")
        return content


def _named(config: Mapping[str, Any]) -> dict[str, Any]:
    """The named tokens: standard ones, and those that the model adds."""
    own = {key: item for key, item in config.items() if key.endswith("_token") and isinstance(item, str | dict)}
    extra = config.get("extra_special_tokens")
    standard = {key: config[key] for key in STANDARD if key in config}
    return {**own, **standard, **(extra if isinstance(extra, dict) else {})}


def _extra(config: Mapping[str, Any]) -> list[Any]:
    """The tokens without names."""
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens")
    return extra if isinstance(extra, list) else []
