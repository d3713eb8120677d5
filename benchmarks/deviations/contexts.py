"""Logits of models at the positions of recorded answers, whatever tokens are claimed there."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.types import RowSpan

HEAD = 64
"""Number of a server's likely tokens that are kept at each position: more than the recorded requests' top-k."""
LARGEST_INT8 = 127


@dataclass(frozen=True)
class ServerHead:
    """The likely tokens of a server at the positions of an answer, the most likely first.

    Attributes:
        ids_nk: token ids.
        logit_nk: raw logits.
    """

    ids_nk: IntArray
    logit_nk: FloatArray

    @classmethod
    def of(cls, model: TransformersReplayer, answer: Record) -> Self:
        """The head of a server's model."""
        values, ids = model.logits(model.hidden_states([0], [answer])).topk(HEAD)
        return cls(ids.numpy(), values.double().numpy())


@dataclass(frozen=True)
class Context:
    """A recorded answer, with the computations of models at its positions.

    Attributes:
        answer: the recorded answer.
        hidden_nh: last hidden states of the verifier's model, float32.
        server: the requested model in the server's arithmetic.
        quantised: the same model with int8 weights.
    """

    answer: Record
    hidden_nh: FloatArray
    server: ServerHead
    quantised: ServerHead


def contexts_of(
    answers: Sequence[Record], identity: ModelIdentity, path: Path, progress: Callable[[int], None]
) -> list[Context]:
    """The contexts of recorded answers, from a file, or computed and written there.

    Args:
        path: a file of the contexts of these answers, .npz.
        progress: called with the number of output tokens just computed by one of three models.
    """
    if not path.exists():
        kept: dict[str, Any] = {}
        verifier, server = TransformersReplayer.load(identity), TransformersReplayer.load(identity, dtype="bfloat16")
        quantised = with_int8_weights(server)
        for at, answer in enumerate(answers):
            kept[f"hidden {at}"] = verifier.hidden_states([0], [answer]).numpy()
            progress(len(answer.output_token_ids))
            for name, model in (("server", server), ("quantised", quantised)):
                head = ServerHead.of(model, answer)
                kept[f"{name} ids {at}"] = head.ids_nk.astype(np.int32)
                kept[f"{name} logits {at}"] = head.logit_nk.astype(np.float32)
                progress(len(answer.output_token_ids))
        with path.open("wb") as stream:
            np.savez(stream, **kept)
    with np.load(path, allow_pickle=False) as stored:

        def stored_head(name: str, at: int) -> ServerHead:
            ids, logits = stored[f"{name} ids {at}"], stored[f"{name} logits {at}"]
            return ServerHead(ids.astype(np.int64), logits.astype(np.float64))

        return [
            Context(answer, stored[f"hidden {at}"], stored_head("server", at), stored_head("quantised", at))
            for at, answer in enumerate(answers)
        ]


def with_int8_weights(server: TransformersReplayer) -> TransformersReplayer:
    """A server whose linear layers, the output head apart, have weights of eight bits, with one scale a row."""
    model = copy.deepcopy(server.model)
    head = model.get_output_embeddings()  # type: ignore[operator]
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear) and layer is not head:
                scale = layer.weight.abs().amax(dim=1, keepdim=True).float() / LARGEST_INT8
                rounded = (layer.weight.float() / scale).round() * scale
                layer.weight.copy_(rounded.to(layer.weight.dtype))
    return TransformersReplayer(model, server.tokenizer, server.identity, server.token_budget)


class ContextReplayer:
    """The replay protocol at the positions of recorded answers.

    Claims are judged as if the tokens before them were those of the recorded answer, and not the claims before them.

    Attributes:
        model: the verifier's model.
        context_of: context of the claims by their seed.
    """

    concurrency = 1

    def __init__(self, model: TransformersReplayer) -> None:
        self.model = model
        self.implementation, self.dtype, self.identity = model.implementation, model.dtype, model.identity
        self.device, self.tokenizer, self.unit_tokens = model.device, model.tokenizer, model.unit_tokens
        self.context_of: dict[int, Context] = {}
        self._kept: tuple[Context, torch.Tensor] | None = None

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        return [[index] for index in range(len(records))]

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        for index in batch:
            rows = self._logits(self.context_of[records[index].choice_seed()])
            yield ReplayChunk(TorchRows(rows), [RowSpan(record=index, start=0, row=0, count=len(rows))])

    def known_answer(self) -> None:
        """None: the digest identifies the model."""

    def close(self) -> None:
        """Do nothing: no work is under way between calls."""

    def _logits(self, context: Context) -> torch.Tensor:
        """Raw logits of a context; those of the last one are kept."""
        if self._kept is None or self._kept[0] is not context:
            self._kept = context, self.model.logits(torch.from_numpy(context.hidden_nh))
        return self._kept[1]


def by_seed(contexts: Sequence[Context], draws: int, rng: np.random.Generator) -> dict[int, Context]:
    """Contexts by seeds of their own, each with some seeds, in the order of the contexts."""
    seeds = rng.choice(2**30, len(contexts) * draws, replace=False)
    return {int(seed): contexts[at // draws] for at, seed in enumerate(seeds)}
