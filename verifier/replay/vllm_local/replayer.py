"""Independent replay by vLLM's engine in this process: prefill alone, whole rows of logits, no server."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from weightwarden.extras import needs_extra
from weightwarden.logger.errors import ModelError
from weightwarden.logger.record import Record
from weightwarden.verifier.candidates.device.kernels import has_kernels
from weightwarden.verifier.candidates.device.rows import DeviceRows
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.replay.vllm_local.engine import MAX_SEQUENCES, PrefillEngine
from weightwarden.verifier.replay.vllm_local.hidden_states import StatesPart
from weightwarden.verifier.types import RowSpan, Tokenizer

DEFAULT_TOKEN_BUDGET = {"cpu": 2048, "cuda": 16384}
CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Size of a block of logits, in bytes."""
UNIT_BATCHES = 4
"""Number of full batches in a work unit."""


class Engine(Protocol):
    """The part of `PrefillEngine` that a replay needs."""

    @property
    def version(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def context_length(self) -> int: ...

    def states(self, sequences: Sequence[Sequence[int]], first: Sequence[int]) -> Iterator[list[StatesPart]]: ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor: ...

    def close(self) -> None: ...


class VllmLocalReplayer:
    """The replay protocol over vLLM's engine in this process.

    A batch is what one step of the engine takes: sequences side by side without padding, at most `token_budget` tokens.
    The engine's output head runs over output positions alone, `CHUNK_BYTES` of logits at a time, and the rows are
    reduced where they are. The replay is independent: its policy is calibrated, and holds for servers of any engine.
    """

    implementation = "vllm-local"
    concurrency = 1

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, identity: ModelIdentity, *, dtype: str, token_budget: int
    ) -> None:
        self.engine, self._tokenizer, self.identity = engine, tokenizer, identity
        self.dtype, self.token_budget = dtype, token_budget
        self.selection: TopKMethod | None = None
        if self._kind == "cuda":
            self.selection = "kernel" if has_kernels() else "blocked"

    @classmethod
    def load(
        cls,
        identity: ModelIdentity,
        *,
        dtype: str | None = None,
        token_budget: int | None = None,
        max_model_len: int | None = None,
    ) -> "VllmLocalReplayer":
        """Start the engine on a model folder.

        Args:
            dtype: dtype of the replay; None: that of the model's weights.
            token_budget: tokens of one step of the engine.
            max_model_len: the server's context length, tokens, if it is not the default.

        Raises:
            MissingExtra: vLLM is not installed in this interpreter's environment.
            ModelError: the engine cannot compute the model here.
        """
        if identity.adapters:
            raise ModelError("--replayer vllm-local has no adapters; use transformers or vllm")
        with needs_extra("vllm-local"):
            import vllm  # noqa: F401
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        budget = token_budget or DEFAULT_TOKEN_BUDGET[kind]
        dtype = dtype or identity.dtype or "float32"
        engine = PrefillEngine.load(identity, dtype=dtype, token_budget=budget, max_model_len=max_model_len)
        return cls(engine, load_tokenizer(identity), identity, dtype=dtype, token_budget=budget)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def device(self) -> str:
        return self.engine.device

    @property
    def unit_tokens(self) -> int:
        return UNIT_BATCHES * self.token_budget

    @property
    def chunk_rows(self) -> int:
        """Positions of a block of logits."""
        limit = CHUNK_BYTES.get(self._kind, CHUNK_BYTES["cpu"])
        return max(1, limit // (4 * self.identity.vocabulary))

    def known_answer(self) -> None:
        """None: the digest identifies the model."""

    def close(self) -> None:
        """End the engine."""
        self.engine.close()

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        """Record indices, the longest first, each batch of at most `token_budget` tokens or of one record."""
        found: list[list[int]] = []
        room = 0
        for index in sorted(range(len(records)), key=lambda i: (-_length(records[i]), i)):
            length = _length(records[index])
            if not found or length > room or len(found[-1]) == MAX_SEQUENCES:
                found.append([])
                room = self.token_budget
            found[-1].append(index)
            room -= length
        return found

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        sequences = [[*records[i].prompt_token_ids, *records[i].output_token_ids[:-1]] for i in batch]
        first = [len(records[i].prompt_token_ids) - 1 for i in batch]
        longest = max(map(len, sequences))
        if longest >= self.engine.context_length:
            raise ReplayError(
                f"a record has {longest + 1} tokens, more than vLLM's context of {self.engine.context_length}"
            )
        for parts in self.engine.states(sequences, first):
            hidden = torch.cat([part.hidden for part in parts])
            for low in range(0, len(hidden), self.chunk_rows):
                high = min(low + self.chunk_rows, len(hidden))
                pieces, row = [], 0
                for part in parts:
                    start, end = max(low, row), min(high, row + len(part.hidden))
                    if start < end:
                        output = part.first - first[part.sequence] + start - row
                        pieces.append(
                            RowSpan(record=batch[part.sequence], start=output, row=start - low, count=end - start)
                        )
                    row += len(part.hidden)
                yield ReplayChunk(self._rows(hidden[low:high]), pieces)

    @property
    def _kind(self) -> str:
        return torch.device(self.engine.device).type

    def _rows(self, hidden: torch.Tensor) -> TorchRows:
        logits = self.engine.logits(hidden)
        return TorchRows(logits.float()) if self.selection is None else DeviceRows(logits, self.selection)


def _length(record: Record) -> int:
    return len(record.prompt_token_ids) + len(record.output_token_ids) - 1
