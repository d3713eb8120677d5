"""Folders of low-rank adapters, as PEFT writes them: their configuration and digest. No weights are interpreted."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import read_json
from weightwarden.logger.record import Adapter
from weightwarden.text import escaped, printable

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_NAME_CHARACTERS = 256
_VOLATILE_KEYS = frozenset(
    {"base_model_name_or_path", "revision", "peft_version", "inference_mode", "auto_mapping", "task_type"}
)
"""Keys of a configuration that depend on who saved it, and not on what the adapter computes."""
_MORE_THAN_LOW_RANK = (
    *("modules_to_save", "trainable_token_indices", "target_parameters", "layer_replication", "lora_bias"),
    *("use_dora", "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config"),
    *("kasa_config", "velora_config", "monteclora_config", "megatron_config"),
)
"""Keys of a configuration that must be unset: what they add is no product of two matrices, or vLLM refuses it."""
_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM 0.32 takes for --max-lora-rank."""
_VLLM_ACTIVE = 8
"""Largest number of adapters in one batch of a server, with which `vllm_arguments` starts it."""
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Named initialisations that leave the base model as it is. The others change it (vLLM 0.32, `PEFTHelper`)."""


@dataclass(frozen=True, kw_only=True)
class AdapterFiles:
    """A trusted copy of a low-rank adapter.

    Attributes:
        name: the adapter's name for clients, and on servers.
        folder: its folder.
        digest: "sha256:..." over its configuration, without the keys that depend on who saved it, and its weights.
        rank: largest rank of its matrices.
        config: its configuration, without those keys.
    """

    name: str
    folder: Path
    digest: str
    rank: int
    config: Mapping[str, Any]

    @classmethod
    def read(cls, name: str, folder: Path) -> "AdapterFiles":
        """The adapter in a folder.

        Raises:
            ModelError: the name is empty, too long, not printable, or holds =, a file is missing or malformed, or the
                adapter is more than products of two matrices beside linear layers. The message names the file.
        """
        if not 0 < len(name) <= MAX_NAME_CHARACTERS or escaped(name) != name or "=" in name:
            raise ModelError(f"{folder}: {printable(name)!r}: not the name of an adapter")
        path = folder / ADAPTER_CONFIG
        if not path.is_file():
            raise ModelError(f"{folder}: no adapter: there is no {ADAPTER_CONFIG}")
        config = {key: value for key, value in read_json(path).items() if key not in _VOLATILE_KEYS}
        _check(config, path)
        weights = folder / ADAPTER_WEIGHTS
        if not weights.is_file():
            pickled = sorted(one.name for one in (*folder.glob("adapter_model.bin"), *folder.glob("adapter_model.pt")))
            why = f"; {pickled[0]} is pickled, which is refused: convert it" if pickled else ""
            raise ModelError(f"{folder}: there is no {ADAPTER_WEIGHTS}{why}")
        digest = hashlib.sha256(b"weightwarden adapter digest v1\n")
        modules = config["target_modules"]
        written = config | {"target_modules": modules if isinstance(modules, str) else sorted(modules)}
        digest.update(json.dumps(written, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        try:
            with weights.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise ModelError(f"{weights}: cannot be read: {error.strerror or error}") from None
        return cls(
            name=name,
            folder=folder,
            digest=f"sha256:{digest.hexdigest()}",
            rank=max(config["r"], *(config.get("rank_pattern") or {}).values(), 1),
            config=written,
        )

    def of_record(self) -> Adapter:
        """The adapter as a record names it."""
        return Adapter(name=self.name, digest=self.digest)


def read_adapters(given: Iterable[tuple[str, Path]], folders: Iterable[Path] = ()) -> dict[str, AdapterFiles]:
    """Adapters by name.

    Args:
        given: pairs of name and folder.
        folders: folders that hold one folder for each adapter, whose name is the adapter's. Hidden ones are left out.

    Raises:
        ModelError: a folder cannot be used (`AdapterFiles.read`), or two adapters have one name.
    """
    pairs = list(given)
    for folder in folders:
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder of adapters")
        pairs += sorted((one.name, one) for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    found: dict[str, AdapterFiles] = {}
    for name, folder in pairs:
        if name in found:
            raise ModelError(f"{folder}: {printable(name)} is the name of the adapter in {found[name].folder}, too")
        found[name] = AdapterFiles.read(name, folder)
    return found


def vllm_arguments(adapters: Sequence[AdapterFiles]) -> list[str]:
    """The arguments with which a vLLM server serves adapters, each under its name; empty without adapters.

    The changed layers are named to it. Otherwise vLLM 0.32 also puts a layer beside the output head, with which its CPU
    server ends at a request for prompt logprobs.
    """
    if not adapters:
        return []
    rank = max(one.rank for one in adapters)
    largest = next((one for one in _VLLM_RANKS if one >= rank), rank)
    active = min(len(adapters), _VLLM_ACTIVE)
    modules = [one.config["target_modules"] for one in adapters]
    layers = sorted({str(name) for names in modules if isinstance(names, list) for name in names})
    named = ("--lora-target-modules", *layers) if all(isinstance(names, list) for names in modules) else ()
    return [
        *("--enable-lora", "--max-lora-rank", str(largest), "--max-loras", str(active)),
        *("--max-cpu-loras", str(len(adapters)), *named, "--lora-modules"),
        *(f"{one.name}={one.folder.absolute()}" for one in adapters),
    ]


def _check(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a configuration of something else than products of two matrices beside linear layers."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"{path}: peft_type: {printable(str(kind))}, and only LORA is known")
    for key in _MORE_THAN_LOW_RANK:
        if config.get(key):
            raise ModelError(f"{path}: {key}: not supported")
    if config.get("bias", "none") != "none":
        raise ModelError(f"{path}: bias: not supported")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        raise ModelError(f"{path}: init_lora_weights: {printable(start)} changes the base model: not supported")
    ranks = config.get("rank_pattern") or {}
    modules = config.get("target_modules")
    if not isinstance(ranks, dict) or not all(_is_rank(rank) for rank in (config.get("r"), *ranks.values())):
        raise ModelError(f"{path}: r, rank_pattern: not ranks of 1 or more")
    if not isinstance(modules, str) and not (
        isinstance(modules, list) and modules and all(isinstance(one, str) for one in modules)
    ):
        raise ModelError(f"{path}: target_modules: not names of modules")


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
