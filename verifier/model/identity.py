"""The identity of a model folder: its digest, vocabulary and stop tokens, read without running it."""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import ADAPTER_CONFIG, AdapterFiles
from weightwarden.logger.model.config import read_json, read_model_config
from weightwarden.logger.text.end_ids import end_ids
from weightwarden.logger.text.tokenizer import TOKENIZER, read_tokenizer

_VOLATILE_CONFIG_KEYS = frozenset(
    {"transformers_version", "_name_or_path", "_from_model_config", "torch_dtype", "dtype"}
)
_INDEX = "model.safetensors.index.json"
_BLOCK_BYTES = 1 << 24
_MAX_HEADER_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Identity of a model in policies and reports.

    Attributes:
        digest: "sha256:..." over every tensor (name, dtype, shape, bytes), the configuration without the keys that
            depend on who saved it, and the tokenizer. Independent of how tensors are sharded into files.
        vocabulary: see `logger.model.dimensions.Dimensions`.
        context_length: see `logger.model.dimensions.Dimensions`.
        longest_context: see `logger.model.dimensions.Dimensions`.
        original_context: see `logger.model.dimensions.Dimensions`.
        eos_ids: token ids that end an answer (`end_ids`).
        dtype: dtype of the weights in the configuration, or None.
        adapters: trusted copies of low-rank adapters on the model, by digest. They are no part of the model's digest.
    """

    path: Path
    digest: str
    vocabulary: int
    context_length: int | None
    eos_ids: tuple[int, ...]
    dtype: str | None = None
    longest_context: int | None = None
    original_context: int | None = None
    adapters: Mapping[str, AdapterFiles] = field(default_factory=dict, hash=False)

    def takes_long_factors(self, max_model_len: int | None) -> bool:
        """True if a server uses its long rotary factors: those of LongRoPE, if its context exceeds the original one.

        Args:
            max_model_len: the server's context length, tokens; None for the model's default.
        """
        context = max_model_len or self.context_length
        return self.original_context is not None and context is not None and context > self.original_context


def identify_model(folder: Path, progress: Callable[[int, int], None] | None = None) -> ModelIdentity:
    """Read a Hugging Face model folder's identity.

    Args:
        progress: called with (bytes hashed, total bytes) during the hashing.

    Raises:
        ModelError: there is no such folder or no safetensors weights (pickled ones are refused), a shard is missing,
            the folder holds an adapter, a malformed file or one that cannot be read, or its files do not name the
            tokens that end an answer.
    """
    try:
        return _identity(folder, progress)
    except OSError as error:
        where = error.filename or folder
        raise ModelError(f"{where}: cannot be read by this user: {error.strerror or error}") from None


def _identity(folder: Path, progress: Callable[[int, int], None] | None) -> ModelIdentity:
    """The identity of a folder (`identify_model`). It raises OSError for a file that cannot be read."""
    config = read_model_config(folder)
    if (folder / ADAPTER_CONFIG).exists():
        raise ModelError(
            f"{folder}: {ADAPTER_CONFIG}: an adapter is not a model: name its base with --model, and it with --adapter"
        )
    shards = sorted(folder.glob("*.safetensors"))
    missing = sorted({*_indexed_shards(folder)} - {shard.name for shard in shards})
    if missing:
        raise ModelError(f"{folder / _INDEX}: names {missing[0]}, and the folder does not hold it")
    if not shards:
        pickled = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")))
        why = f"; {pickled[0]} is pickled, which is refused: convert it" if pickled else ""
        raise ModelError(f"{folder}: holds no *.safetensors weights{why}")
    digest = hashlib.sha256(b"weightwarden model digest v1\n")
    for part in (config.config, config.generation):
        kept = {key: value for key, value in part.items() if key not in _VOLATILE_CONFIG_KEYS}
        digest.update(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    tokenizer = folder / TOKENIZER
    if tokenizer.exists():
        digest.update(hashlib.sha256(tokenizer.read_bytes()).digest())
    eos_ids = end_ids(folder, config, read_tokenizer(folder) if tokenizer.exists() else None)
    for line in _tensor_digests(shards, progress):
        digest.update(line)
    return ModelIdentity(
        path=folder,
        digest=f"sha256:{digest.hexdigest()}",
        vocabulary=config.vocabulary,
        context_length=config.context_length,
        eos_ids=eos_ids,
        dtype=config.dtype,
        longest_context=config.longest_context,
        original_context=config.original_context,
    )


def _indexed_shards(folder: Path) -> list[str]:
    """The shards in the folder's index; none without an index."""
    if not (folder / _INDEX).exists():
        return []
    shards = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ModelError(f"{folder / _INDEX}: weight_map: not file names by tensor")
    return list(shards.values())


def _tensor_digests(shards: list[Path], progress: Callable[[int, int], None] | None) -> Iterator[bytes]:
    """One line a tensor, in the order of names."""
    total = sum(shard.stat().st_size for shard in shards)
    done = 0
    tensors: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    for shard in shards:
        start, header = _safetensors_header(shard)
        for name, entry in header.items():
            if name in tensors:
                raise ModelError(f"{shard}: tensor {name!r} is in {tensors[name][0].name} as well")
            tensors[name] = (shard, start, entry)
    for name in sorted(tensors):
        shard, start, entry = tensors[name]
        try:
            first, last = entry["data_offsets"]
            described = f"{name}\0{entry['dtype']}\0{list(entry['shape'])}\0"
        except (KeyError, TypeError, ValueError):
            raise ModelError(f"{shard}: tensor {name!r}: malformed header") from None
        content = hashlib.sha256()
        with shard.open("rb") as stream:
            stream.seek(start + first)
            left = last - first
            while left:
                block = stream.read(min(left, _BLOCK_BYTES))
                if not block:
                    raise ModelError(f"{shard}: tensor {name!r}: file is cut short")
                content.update(block)
                left -= len(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
        yield described.encode() + content.digest()


def _safetensors_header(shard: Path) -> tuple[int, dict[str, Any]]:
    """Offset of the tensor bytes of a shard, and descriptions of its tensors."""
    with shard.open("rb") as stream:
        prefix = stream.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= size <= _MAX_HEADER_BYTES:
            raise ModelError(f"{shard}: not a safetensors file")
        try:
            header = json.loads(stream.read(size))
        except ValueError:
            raise ModelError(f"{shard}: not a safetensors file") from None
    if not isinstance(header, dict):
        raise ModelError(f"{shard}: not a safetensors file")
    header.pop("__metadata__", None)
    return 8 + size, header
