import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.recorded import FILTERED, records_of
from weightwarden.logger.errors import ModelError
from weightwarden.logger.record import Record, Segment
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.model.source import resolve_model
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

TINY: dict[str, Any] = {
    "vocab_size": 211,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 2,
}


def save_tiny(folder: Path, model_folder: Path, config: Any) -> Path:
    """A random model with the embedded model's tokenizer."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((model_folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_bytes((model_folder / "tokenizer_config.json").read_bytes())
    return folder


def tiny_records(count: int, seed: int) -> list[Record]:
    rng = np.random.default_rng(seed)
    base = records_of(FILTERED)[0].model_dump()
    records = []
    for _ in range(count):
        base["prompt_token_ids"] = rng.integers(3, 211, int(rng.integers(1, 30))).tolist()
        base["output_token_ids"] = rng.integers(3, 211, int(rng.integers(1, 60))).tolist()
        records.append(Record.model_validate(base))
    return records


def rows_by_position(replayer: TransformersReplayer, records: list[Record]) -> dict[tuple[int, int], torch.Tensor]:
    rows = {}
    for chunk in (c for batch in replayer.batches(records) for c in replayer.replay(batch, records)):
        for piece in chunk.pieces:
            for k in range(piece.count):
                place = (piece.record, piece.start + k)
                assert place not in rows
                rows[place] = torch.from_numpy(chunk.rows.row(piece.row + k).copy())
    return rows


def assert_rows_of_the_model(folder: Path, records: list[Record], rows: dict[tuple[int, int], torch.Tensor]) -> None:
    """Every row equals the model's own forward over the one record, unbatched."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for i, record in enumerate(records):
        ids = torch.tensor([[*record.prompt_token_ids, *record.output_token_ids]])
        with torch.no_grad():
            logits = model(ids).logits[0, len(record.prompt_token_ids) - 1 : -1]
        ours = torch.stack([rows[i, j] for j in range(len(record.output_token_ids))])
        torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("token_budget", [1, 100, 4096])
def test_every_output_position_has_the_row_of_its_own_context(
    tmp_path: Path, model_folder: Path, token_budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny(tmp_path / "tiny", model_folder, transformers.LlamaConfig(**TINY))
    monkeypatch.setattr(
        "weightwarden.verifier.replay.transformers.replayer.CHUNK_BYTES", {"cpu": 4 * 211 * 7}
    )  # chunks end within records
    replayer = TransformersReplayer.load(identify_model(folder), device="cpu", token_budget=token_budget)
    records = tiny_records(12, seed=1)
    rows = rows_by_position(replayer, records)
    assert set(rows) == {(i, j) for i, r in enumerate(records) for j in range(len(r.output_token_ids))}
    assert_rows_of_the_model(folder, records, rows)


@pytest.mark.parametrize("seed", [4, 5])
def test_a_shared_prefix_is_computed_once_and_changes_no_row(tmp_path: Path, model_folder: Path, seed: int) -> None:
    folder = save_tiny(tmp_path / "tiny", model_folder, transformers.LlamaConfig(**TINY))
    replayer = TransformersReplayer.load(identify_model(folder), device="cpu", token_budget=512)
    assert replayer.shares_prefixes
    rng = np.random.default_rng(seed)
    systems = [rng.integers(3, 211, 200).tolist() for _ in range(2)]
    records = [
        record.model_copy(update={"prompt_token_ids": [*systems[at % 2], *record.prompt_token_ids]})
        for at, record in enumerate(tiny_records(12, seed))
    ]
    seen: list[int] = []
    replayer.model.base_model.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    rows = rows_by_position(replayer, records)
    assert_rows_of_the_model(folder, records, rows)
    assert sum(seen) < 0.6 * sum(len(r.prompt_token_ids) + len(r.output_token_ids) for r in records)


def test_the_requests_of_an_answer_share_its_prompt(tmp_path: Path, model_folder: Path) -> None:
    folder = save_tiny(tmp_path / "tiny", model_folder, transformers.LlamaConfig(**TINY))
    replayer = TransformersReplayer.load(identify_model(folder), device="cpu", token_budget=512)
    rng = np.random.default_rng(6)
    segments = [
        Segment(kind="sampled", tokens=10),
        Segment(kind="forced", tokens=3),
        Segment(kind="sampled", tokens=27),
    ]
    records = [
        record.model_copy(
            update={
                "prompt_token_ids": rng.integers(3, 211, 200).tolist(),
                "output_token_ids": rng.integers(3, 211, 40).tolist(),
                "segments": segments,
            }
        )
        for record in tiny_records(4, 6)
    ]
    seen: list[int] = []
    replayer.model.base_model.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    ranks = {}
    for placed in Replay(replayer, Window(margin=4.0, logit_slacks=(0.0,), mass_slack=0.0)).tables(records):
        for record, position, rank in zip(
            placed.record_n, placed.position_n, placed.table.logit_rank_n.tolist(), strict=True
        ):
            ranks[int(record), int(position)] = rank
    assert sum(seen) < 1.2 * sum(len(r.prompt_token_ids) + len(r.output_token_ids) for r in records)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    wanted = {}
    for at, record in enumerate(records):
        ids = torch.tensor([[*record.prompt_token_ids, *record.output_token_ids]])
        with torch.no_grad():
            logits = model(ids).logits[0, len(record.prompt_token_ids) - 1 : -1]
        for position in (*range(10), *range(13, 40)):
            claimed = logits[position, record.output_token_ids[position]]
            wanted[at, position] = int((logits[position] >= claimed).sum())
    assert ranks == wanted


def test_a_model_that_does_not_keep_all_keys_shares_nothing(tmp_path: Path, model_folder: Path) -> None:
    folder = save_tiny(tmp_path / "other", model_folder, transformers.MistralConfig(**{**TINY, "sliding_window": 64}))
    replayer = TransformersReplayer.load(identify_model(folder), device="cpu", token_budget=512)
    assert not replayer.shares_prefixes
    prefix = np.random.default_rng(6).integers(3, 211, 200).tolist()
    records = [
        record.model_copy(update={"prompt_token_ids": [*prefix, *record.prompt_token_ids]})
        for record in tiny_records(3, seed=7)
    ]
    assert_rows_of_the_model(folder, records, rows_by_position(replayer, records))


def test_soft_capped_logits_are_replayed_as_the_model_computes_them(tmp_path: Path, model_folder: Path) -> None:
    config = transformers.Gemma2Config(**{**TINY, "head_dim": 8, "final_logit_softcapping": 0.05})
    folder = save_tiny(tmp_path / "capped", model_folder, config)
    replayer = TransformersReplayer.load(identify_model(folder), device="cpu")
    records = tiny_records(2, seed=2)
    rows = rows_by_position(replayer, records)
    assert_rows_of_the_model(folder, records, rows)
    assert max(float(row.abs().max()) for row in rows.values()) <= 0.0501


def test_a_head_that_does_more_than_the_verifier_knows_is_refused(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny(tmp_path / "tiny", model_folder, transformers.LlamaConfig(**TINY))
    forward = transformers.LlamaForCausalLM.forward

    def scaled(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        output.logits = output.logits * 1.1
        return output

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", scaled)
    with pytest.raises(ModelError, match="more to its logits"):
        TransformersReplayer.load(identify_model(folder), device="cpu")


def test_unusable_models_are_refused_with_a_reason(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        resolve_model(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="no such model folder"):
        identify_model(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"vocab_size": 10}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="pickled"):
        identify_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors at all")
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 2}')
    with pytest.raises(ModelError, match="not a safetensors file"):
        identify_model(tmp_path)
    identity = identify_model(model_folder)
    with pytest.raises(ModelError, match="unknown dtype"):
        TransformersReplayer.load(identity, dtype="float8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        TransformersReplayer.load(identity, device="nonsense")


def test_model_digest_sees_one_changed_weight_and_not_how_it_was_saved(tmp_path: Path, model_folder: Path) -> None:
    folder = save_tiny(tmp_path / "tiny", model_folder, transformers.LlamaConfig(**TINY))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    resharded = tmp_path / "resharded"
    model.save_pretrained(resharded, max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (resharded / name).write_bytes((folder / name).read_bytes())
    assert len(list(resharded.glob("*.safetensors"))) > 1
    assert identify_model(resharded).digest == identify_model(folder).digest
    with torch.no_grad():
        model.lm_head.weight[7, 7] += 1e-3
    changed = tmp_path / "changed"
    model.save_pretrained(changed)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (changed / name).write_bytes((folder / name).read_bytes())
    assert identify_model(changed).digest != identify_model(folder).digest


def test_recorded_traffic_comes_from_the_embedded_model(replayer: TransformersReplayer) -> None:
    window = Window(margin=0.1, logit_slacks=(0.1,), mass_slack=0.01)
    tables = list(Replay(replayer, window).tables(records_of(FILTERED)[:6]))
    exact = np.concatenate([placed.table.exact_n for placed in tables])
    assert exact.mean() > 0.95


MEMORY_PROBE = """
import sys
from benchmarks.peak_memory import peak_bytes
import numpy as np, torch, transformers
from pathlib import Path
from weightwarden.logger.record import Record, Segment
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

folder, traffic = Path(sys.argv[1]), Path(sys.argv[2])
replayer = TransformersReplayer.load(identify_model(folder), device="cpu", token_budget=16384)
base = read_traffic(traffic)[0].record.model_dump()
rng = np.random.default_rng(0)
base["sampling"] = {"temperature": 1.0, "top_p": 0.95, "max_tokens": 4096}
records = []
for i in range(2):
    base.update(output_token_ids=rng.integers(3, 150000, 4096).tolist(), seed=i)
    records.append(Record.model_validate(base))
before = peak_bytes()
window = Window(margin=1.0, logit_slacks=(0.15,), mass_slack=0.01)
positions = sum(len(placed.table) for placed in Replay(replayer, window).tables(records))
assert positions == 8192
print((peak_bytes() - before) / 2**30)
"""


@pytest.mark.slow
def test_8192_positions_of_a_150000_token_vocabulary_stay_under_4_gib(tmp_path: Path, model_folder: Path) -> None:
    config = transformers.LlamaConfig(**{**TINY, "vocab_size": 150_000, "max_position_embeddings": 8192})
    folder = save_tiny(tmp_path / "wide", model_folder, config)
    script = [sys.executable, "-c", MEMORY_PROBE, str(folder), str(FILTERED)]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=900)
    assert float(done.stdout) < 4.0
