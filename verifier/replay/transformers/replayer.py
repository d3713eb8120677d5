"""Independent replay with Hugging Face transformers: teacher forcing, batched by length, in float32 by default."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
import transformers

from weightwarden.logger.errors import ModelError
from weightwarden.logger.grammar.masks import GrammarMasks
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray
from weightwarden.text import first_line
from weightwarden.verifier.candidates.device.kernels import has_kernels
from weightwarden.verifier.candidates.device.rows import DeviceRows
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.logits.masked_logits import mask_logits
from weightwarden.verifier.logits.token_masks import TokenMasks
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.replay.transformers.adapters import AdapterLayers
from weightwarden.verifier.replay.transformers.batching import batches_of, shared_prefix
from weightwarden.verifier.replay.transformers.model_loading import load_language_model
from weightwarden.verifier.replay.transformers.prefix_cache import can_share, prefix_cache
from weightwarden.verifier.replay.transformers.rotation import pin_rotation
from weightwarden.verifier.replay.transformers.rounding import SEEDS, largest_sway, rounding_errors
from weightwarden.verifier.types import RowSpan, Tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT_TOKEN_BUDGET = {"cpu": 2048, "cuda": 16384}
CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Size of a block of logits, in bytes. It bounds memory for any vocabulary; a few blocks are held at once on a GPU."""
UNIT_BATCHES = 2
"""Number of full batches in a work unit."""
_PROBE_LENGTH = 8
_PROBE_TOLERANCE = 1e-3
_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_SHARING_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
"""Largest difference of hidden states that is attributed to rounding, as a share of the largest state.

float32: at most 1.3e-4 with the embedded model on a processor with AMX, 3e-7 with small models. With attention to later
tokens, small models differ by 0.04 to 0.40 (`tests/verifier/replay/transformers/test_architectures.py`).
"""


class TransformersReplayer:
    """The replay protocol over a `transformers` causal language model.

    A batch holds sequences of one adapter and of similar length, at most `token_budget` tokens with padding
    (`batches_of`). The
    transformer runs once over it, and once over a prefix that all its sequences share. The output head runs only over
    output positions, `CHUNK_BYTES` of logits at a time, so that memory does not grow with positions times vocabulary.
    Padding is on the right, where causal attention never reads it.

    Attributes:
        adapters: the low-rank adapters in the model's layers.
        shares_prefixes: whether the model's keys and values of a prefix are the same whatever follows.
        selection: method of reducing rows on their device. None reduces them on the host, which is faster for a CPU.
    """

    implementation = "transformers"
    concurrency = 1

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        identity: ModelIdentity,
        token_budget: int,
        max_model_len: int | None = None,
    ) -> None:
        self.model = model
        self.identity = pin_rotation(model, identity, max_model_len)
        self.max_model_len = max_model_len
        self._tokenizer = tokenizer
        if identity.adapters and len({parameter.device for parameter in model.parameters()}) > 1:
            raise ModelError(f"{identity.path}: adapters need the whole model on one device")
        self.adapters = AdapterLayers(model, self.identity)
        self._trunk, self._head = _trunk_and_head(model)
        parameter = next(model.parameters())
        self._device = parameter.device  # of ids; accelerate moves what goes from device to device
        self.dtype = str(parameter.dtype).removeprefix("torch.")
        self.token_budget = token_budget
        self.selection = default_selection(parameter.device)
        try:
            self._check_head()
            self._check_causal()
            self.shares_prefixes = self._sharing_is_exact()
        except ModelError:
            raise
        except Exception as error:  # any error of the model's class with a few tokens
            said = f"{type(error).__name__}: {first_line(error)}"
            raise ModelError(f"{identity.path}: {type(model).__name__} cannot be computed here: {said}") from error

    @classmethod
    def load(
        cls,
        identity: ModelIdentity,
        *,
        dtype: str = "float32",
        device: str | None = None,
        token_budget: int | None = None,
        max_model_len: int | None = None,
    ) -> "TransformersReplayer":
        """Load a model folder.

        Args:
            dtype: dtype of the replay; float32 makes the verifier's own rounding negligible.
            device: torch's name of the device, or "auto": layers over all GPUs; by default CUDA when available.
            token_budget: tokens of a forward pass, padding included.
            max_model_len: the server's context length, tokens, if it is not the default. Some models have other rotary
                factors then (`pin_rotation`).

        Raises:
            ModelError: the folder is not a causal language model that transformers can load without running the
                folder's code, some weights are missing, or the dtype or device does not exist here.
        """
        if dtype not in DTYPES:
            raise ModelError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
        transformers.utils.logging.disable_progress_bar()
        torch.set_float32_matmul_precision("highest")  # no TF32: float32 is chosen to avoid its rounding
        model = load_language_model(identity, DTYPES[dtype], name)
        tokenizer = load_tokenizer(identity)
        kind = next(model.parameters()).device.type
        budget = token_budget or DEFAULT_TOKEN_BUDGET.get(kind, DEFAULT_TOKEN_BUDGET["cpu"])
        return cls(model, tokenizer, identity, budget, max_model_len)

    @property
    def tokenizer(self) -> Tokenizer:
        return cast(Tokenizer, self._tokenizer)

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def unit_tokens(self) -> int:
        return UNIT_BATCHES * self.token_budget

    def known_answer(self) -> None:
        """None: the digest identifies the model."""

    def close(self) -> None:
        """Do nothing: no work is under way between calls."""

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        """Record indices, batched by adapter, length and shared prefix under the token budget."""
        prompts = [r.prompt_token_ids if self.shares_prefixes else r.prompt_token_ids[:1] for r in records]
        lengths = [len(r.prompt_token_ids) + len(r.output_token_ids) - 1 for r in records]
        by_adapter: dict[str, list[int]] = {}
        for index, record in enumerate(records):
            by_adapter.setdefault("" if record.adapter is None else record.adapter.digest, []).append(index)
        found = []
        for _, group in sorted(by_adapter.items()):
            batches = batches_of([prompts[i] for i in group], [lengths[i] for i in group], self.token_budget)
            found += [[group[at] for at in batch] for batch in batches]
        return found

    @torch.no_grad()
    def hidden_states(self, batch: Sequence[int], records: Sequence[Record]) -> torch.Tensor:
        """The trunk's last hidden states at the batch's output positions, [positions, hidden], record after record.

        The records of a batch have one adapter, which is active in the model afterwards, for the output head.
        """
        self.adapters.use(records[batch[0]].adapter)
        ids, shared = self.padded_ids(batch, records), 0
        if self.shares_prefixes:
            shared = shared_prefix([np.asarray(records[i].prompt_token_ids) for i in batch])
        hidden = self._trunk_states(ids, shared)
        spans = [(len(records[i].prompt_token_ids) - 1 - shared, len(records[i].output_token_ids)) for i in batch]
        return torch.cat([hidden[row, start : start + count] for row, (start, count) in enumerate(spans)])

    def _trunk_states(self, ids: torch.Tensor, shared: int) -> torch.Tensor:
        """The trunk's last hidden states [batch, width - shared, hidden] after the first `shared` ids.

        These first ids are equal in all sequences.
        """
        if not shared:
            return cast(torch.Tensor, self._trunk(input_ids=ids, use_cache=False).last_hidden_state)
        cache = prefix_cache(self._computed(ids[:1, :shared]))
        found = self._trunk(input_ids=ids[:, shared:], past_key_values=cache, use_cache=True)
        return cast(torch.Tensor, found.last_hidden_state)

    def _computed(self, ids: torch.Tensor) -> transformers.Cache:
        """Keys and values of one sequence."""
        cache = self._empty_cache()
        self._trunk(input_ids=ids, past_key_values=cache, use_cache=True)
        return cache

    def _empty_cache(self) -> transformers.Cache:
        return transformers.DynamicCache(config=self._trunk.config)

    def padded_ids(self, batch: Sequence[int], records: Sequence[Record]) -> torch.Tensor:
        """Prompt and output ids of a batch without each last id, padded on the right, int64 [batch, width]."""
        sequences = [[*records[i].prompt_token_ids, *records[i].output_token_ids[:-1]] for i in batch]
        width = max(map(len, sequences))
        return torch.tensor([s + [0] * (width - len(s)) for s in sequences], device=self._device)

    @torch.no_grad()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Raw logits of hidden states, float32 [positions, V]."""
        return cast(torch.Tensor, self._head(hidden)).float()

    @torch.no_grad()
    def rows(self, hidden: torch.Tensor) -> TorchRows:
        """Rows of the logits of hidden states, in the model's dtype if the device reduces them."""
        if self.selection is None:
            return TorchRows(self.logits(hidden))
        return DeviceRows(cast(torch.Tensor, self._head(hidden)), self.selection)

    @property
    def chunk_rows(self) -> int:
        bytes_per_logit = 4 if self.selection is None else next(self.model.parameters()).element_size()
        limit = CHUNK_BYTES.get(self._device.type, CHUNK_BYTES["cpu"])
        return max(1, limit // (bytes_per_logit * self.identity.vocabulary))

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        hidden = self.hidden_states(batch, records)
        starts = np.cumsum([0, *(len(records[i].output_token_ids) for i in batch)])
        for first in range(0, len(hidden), self.chunk_rows):
            last = min(first + self.chunk_rows, len(hidden))
            pieces = []
            for index, start, end in zip(batch, starts[:-1], starts[1:], strict=True):
                low, high = max(first, int(start)), min(last, int(end))
                if low < high:
                    pieces.append(RowSpan(record=index, start=low - int(start), row=low - first, count=high - low))
            yield ReplayChunk(self.rows(hidden[first:last]), pieces)

    @torch.no_grad()
    def sway(self, records: Sequence[Record], masks: Sequence[GrammarMasks | None] | None = None) -> list[FloatArray]:
        """Sway of each claimed token against the likely ones, logits [output tokens]."""
        found: dict[int, FloatArray] = {}
        for batch in self.batches(records):
            computed = []
            for seed in SEEDS:
                with rounding_errors(self.model, seed):
                    computed.append(self.hidden_states(batch, records))
            start = 0
            for index in batch:
                end = start + len(records[index].output_token_ids)
                mask = None if masks is None else masks[index]
                found[index] = self._sway_of(records[index], [hidden[start:end] for hidden in computed], mask)
                start = end
        return [found[index] for index in range(len(records))]

    def _sway_of(self, record: Record, hidden: Sequence[torch.Tensor], masks: GrammarMasks | None) -> FloatArray:
        """The sway of one record's positions, from their hidden states in each computation."""
        allowed = record.sampling.allowed_token_ids
        device = self.logits(hidden[0][:1]).device  # of the head, where layers are on several
        claimed = torch.tensor(record.output_token_ids, device=device)
        kept = None
        if allowed is not None:
            kept = torch.zeros(self.identity.vocabulary, dtype=torch.bool, device=device)
            kept[list(allowed)] = True
            kept[claimed] = True
        parts = []
        for first in range(0, len(claimed), self.chunk_rows):
            rows = slice(first, first + self.chunk_rows)
            logits = [self.logits(states[rows]) for states in hidden]
            if kept is not None:
                logits = [row.masked_fill(~kept, -torch.inf) for row in logits]
            if masks is not None:
                some = TokenMasks(masks.distinct_uw, masks.mask_of_n[rows].astype(np.int64))
                for block in logits:
                    mask_logits(block[: len(some)], some)
            parts.append(largest_sway(logits, claimed[rows]))
        values: FloatArray = torch.cat(parts).double().cpu().numpy()
        return values

    @torch.no_grad()
    def _sharing_is_exact(self) -> bool:
        """True if a shared prefix changes nothing, by the model's kind and by a trial."""
        ids = torch.arange(1, 1 + _PROBE_LENGTH, device=self._device)[None, :] % self.identity.vocabulary
        both = torch.cat([ids, ids.flip(1)])
        both[:, : _PROBE_LENGTH // 2] = ids[:, : _PROBE_LENGTH // 2]
        alone = self._trunk_states(both, 0)[:, _PROBE_LENGTH // 2 :]
        try:
            if not (can_share(self._empty_cache()) and can_share(self._computed(ids[:, :1]))):
                return False
            shared = self._trunk_states(both, _PROBE_LENGTH // 2)
        except Exception:  # a model that keeps other things than keys and values, or nothing
            return False
        return bool((alone - shared).abs().max() <= _SHARING_TOLERANCE[self.dtype] * (1 + alone.abs().max()))

    @torch.no_grad()
    def _check_head(self) -> None:
        """Refuse a model whose logits are not head(trunk(x)): a soft cap or scale there would be missed silently."""
        ids = torch.arange(1, 1 + _PROBE_LENGTH, device=self._device)[None, :] % self.identity.vocabulary
        whole = self.model(input_ids=ids, use_cache=False).logits[0].float()
        ours = self.logits(self._trunk(input_ids=ids, use_cache=False).last_hidden_state[0]).to(whole.device)
        if whole.shape != ours.shape or whole.shape[1] != self.identity.vocabulary:
            raise ModelError(
                f"{self.identity.path}: the output head is {ours.shape[1]} wide, not the vocabulary's size"
            )
        if not torch.isfinite(whole).all():
            raise ModelError(f"{self.identity.path}: the model's logits are not finite in {self.dtype}")
        tolerance = max(_PROBE_TOLERANCE, 2 * torch.finfo(next(self.model.parameters()).dtype).eps)
        if (whole - ours).abs().max() > tolerance * (1 + whole.abs().max()):
            raise ModelError(
                f"{self.identity.path}: {type(self.model).__name__} does more to its logits than the output head"
                " (a soft cap or a scale that the configuration does not name); not supported"
            )

    @torch.no_grad()
    def _check_causal(self) -> None:
        """Refuse a model in which later tokens, or other sequences of the batch, change a token's row."""
        ids = torch.arange(1, 1 + _PROBE_LENGTH, device=self._device)[None, :] % self.identity.vocabulary
        alone = self._trunk_states(ids, 0)[0]
        beside = self._trunk_states(torch.cat([torch.cat([ids, ids.flip(1)], 1), torch.cat([ids.flip(1), ids], 1)]), 0)
        differences = (beside[0, :_PROBE_LENGTH] - alone).abs().amax(dim=1)
        if differences.median() > _SHARING_TOLERANCE[self.dtype] * (1 + alone.abs().max()):
            raise ModelError(
                f"{self.identity.path}: {type(self.model).__name__} is not causal: what follows a token changes it"
            )


def default_selection(device: torch.device) -> TopKMethod | None:
    """Default method of reducing rows: on a GPU by kernels, or by torch without Triton; on the host for a CPU."""
    if device.type != "cuda":
        return None
    return "kernel" if has_kernels() else "blocked"


def _trunk_and_head(model: Any) -> tuple[Any, Any]:
    """The language model without its output head, and the head with the soft cap and scales of known configurations.

    For a model of images and text the trunk is the text model: positions count tokens, and no id stands for an image.
    """
    config = model.config.get_text_config()
    linear = model.get_output_embeddings()
    trunk = model.base_model if config is model.config else model.get_decoder()
    if getattr(trunk, "lm_head", None) is not None:
        trunk = trunk.model
    if trunk is model or linear is None:
        raise ModelError(f"{type(model).__name__} has no separate output head")
    cap = next((found for name in _SOFT_CAPS if (found := getattr(config, name, None)) is not None), None)
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)

    def head(hidden: torch.Tensor) -> torch.Tensor:
        linear = model.get_output_embeddings()  # an adapter may have put its own layer there
        logits = cast(torch.Tensor, linear(hidden.to(linear.weight.dtype)))  # Mamba's states are float32 throughout
        if scale is not None:
            logits = logits * scale
        if divisor is not None:
            logits = logits / divisor
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return trunk, head
