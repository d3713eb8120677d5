"""Every architecture: a record's rows are its own, whatever stands beside it in the batch, and how long that is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.recorded import FILTERED, records_of
from tests.verifier.replay.transformers.tiny_models import (
    ARCHITECTURES,
    VOCABULARY,
    change_config,
    phi3,
    replayer_of,
    save_model,
)
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import read_model_config
from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.replay.transformers.model_loading import class_of
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

ROUNDING = 1e-4
"""Of float32 sums in another order, as a share of the largest logit: thousands of products of relative error 2**-24."""


def records_of_lengths(*lengths: tuple[int, int], shared: int = 0) -> list[Record]:
    """Records of so many random prompt and output tokens; the prompts begin with the same `shared` ones."""
    rng = np.random.default_rng(7)
    base = records_of(FILTERED)[0]
    first = rng.integers(3, 209, shared).tolist()
    return [
        base.model_copy(
            update={
                "prompt_token_ids": [*first, *rng.integers(3, 209, prompt).tolist()],
                "output_token_ids": rng.integers(3, 209, output).tolist(),
            }
        )
        for prompt, output in lengths
    ]


def rows_of(replayer: TransformersReplayer, records: list[Record]) -> list[torch.Tensor]:
    """Each record's logits [outputs, V], all records replayed together."""
    with torch.no_grad():
        logits = replayer.logits(replayer.hidden_states(range(len(records)), records))
    return list(torch.split(logits, [len(record.output_token_ids) for record in records]))


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).abs().max()) <= ROUNDING * (1 + float(theirs.abs().max()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_record_has_the_same_rows_alone_as_in_a_batch_of_mixed_lengths(tmp_path: Path, name: str) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES[name]())
    replayer = replayer_of(folder, max_model_len=512)
    records = records_of_lengths((1, 5), (60, 40), (9, 20), (3, 1), shared=66)
    together = rows_of(replayer, records)
    assert_same(together, [rows_of(replayer, [record])[0] for record in records])
    if "rotation by length" not in name:  # transformers itself has other factors for a short record alone
        model = class_of(replayer.model.config).from_pretrained(folder, dtype=torch.float32).eval()
        whole = torch.tensor([[*records[2].prompt_token_ids, *records[2].output_token_ids[:-1]]])
        with torch.no_grad():
            logits = model(input_ids=whole, use_cache=False).logits[0, len(records[2].prompt_token_ids) - 1 :]
        assert_same([together[2]], [logits])


@pytest.mark.parametrize("name", ["state space", "plain", "linear attention, experts"])
def test_models_compute_in_bfloat16_too(tmp_path: Path, name: str) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES[name](), torch.bfloat16)
    replayer = replayer_of(folder, dtype="bfloat16")
    assert replayer.dtype == "bfloat16"
    (rows,) = rows_of(replayer, records_of_lengths((5, 9)))
    assert rows.shape == (9, VOCABULARY)
    assert torch.isfinite(rows).all()


def test_long_factors_follow_the_servers_context_and_not_the_record(tmp_path: Path) -> None:
    """transformers takes the long factors where the batch's longest sequence exceeds the original context."""
    folder = save_model(tmp_path / "tiny", phi3())
    identity = identify_model(folder)
    assert (identity.context_length, identity.longest_context, identity.original_context) == (48, 512, 48)
    short, long = records_of_lengths((4, 8), (40, 60))
    by_default = replayer_of(folder)
    told = replayer_of(folder, max_model_len=512)
    assert by_default.identity.longest_context == 48
    assert told.identity.longest_context == 512

    model = class_of(told.model.config).from_pretrained(folder, dtype=torch.float32).eval()
    ids = [torch.tensor([[*r.prompt_token_ids, *r.output_token_ids[:-1]]]) for r in (short, long)]
    with torch.no_grad():
        alone = [model(input_ids=i, use_cache=False).logits[0] for i in ids]
    assert_same(rows_of(by_default, [short]), [alone[0][3:]])
    assert_same(rows_of(told, [short, long])[1:], [alone[1][39:]])
    (short_on_long,) = rows_of(told, [short])
    assert float((short_on_long - alone[0][3:]).abs().max()) > 10 * ROUNDING * (1 + float(alone[0].abs().max()))
    assert_same(rows_of(told, [short, long])[:1], [short_on_long])


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())
    model: Any = replayer_of(folder).model
    attention = model.model.layers[0].self_attn
    forward = attention.forward
    attention.forward = lambda *args, **kwargs: forward(*args, **{**kwargs, "attention_mask": None})
    attention.is_causal = False
    identity = ModelIdentity(path=folder, digest="", vocabulary=VOCABULARY, context_length=512, eos_ids=())
    with pytest.raises(ModelError, match="not causal"):
        TransformersReplayer(model, None, identity, 512)


@pytest.mark.parametrize("name", ["images: Gemma 3", "images: Mistral 3"])
def test_a_part_for_text_that_leaves_numbers_out_has_its_classs(tmp_path: Path, name: str) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES[name]())
    change_config(
        folder, lambda config: [config["text_config"].pop(k) for k in ("vocab_size", "max_position_embeddings")]
    )
    config = read_model_config(folder)
    text = transformers.AutoConfig.from_pretrained(folder).get_text_config()
    assert (config.vocabulary, config.context_length) == (text.vocab_size, text.max_position_embeddings)
