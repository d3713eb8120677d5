from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from benchmarks.random_adapter import MODULES, write_random_adapter
from tests.verifier.replay.transformers.test_architectures import assert_same, records_of_lengths
from tests.verifier.replay.transformers.tiny_models import ARCHITECTURES, SIZES, replayer_of, save_model
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import AdapterFiles, read_adapters
from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.replay.transformers import adapters as module
from weightwarden.verifier.replay.transformers.model_loading import load_language_model
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

peft = pytest.importorskip("peft")

LENGTHS = ((5, 7), (40, 3), (9, 12), (5, 7), (30, 9), (8, 8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())


@pytest.fixture
def adapters(tmp_path: Path, folder: Path) -> list[AdapterFiles]:
    """Two of one configuration, one of another rank with the output head."""
    kinds = ((4, MODULES), (4, MODULES), (2, ("q_proj", "lm_head")))
    pairs = [
        (f"a{at}", write_random_adapter(tmp_path / f"a{at}", folder, seed=at, rank=rank, modules=modules))
        for at, (rank, modules) in enumerate(kinds)
    ]
    return list(read_adapters(pairs).values())


def with_adapters(folder: Path, adapters: Sequence[AdapterFiles]) -> TransformersReplayer:
    identity = replace(identify_model(folder), adapters={one.digest: one for one in adapters})
    return TransformersReplayer(load_language_model(identity, torch.float32, "cpu"), None, identity, 2048)


def asked(record: Record, adapter: AdapterFiles | None) -> Record:
    return record.model_copy(update={"adapter": None if adapter is None else adapter.of_record()})


def rows(replayer: TransformersReplayer, records: list[Record]) -> list[torch.Tensor]:
    """Each record's logits [outputs, V], in the replayer's own batches."""
    found: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for batch in replayer.batches(records):
            logits = replayer.logits(replayer.hidden_states(batch, records))
            parts = torch.split(logits, [len(records[i].output_token_ids) for i in batch])
            found |= dict(zip(batch, parts, strict=True))
    return [found[i] for i in range(len(records))]


def pefts_own(folder: Path, records: list[Record], adapters: Sequence[AdapterFiles | None]) -> list[torch.Tensor]:
    """Each record's logits by PEFT alone: one model loaded for each adapter, one record at a time."""
    found = []
    for record, adapter in zip(records, adapters, strict=True):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if adapter is not None:
            model = peft.PeftModel.from_pretrained(model, adapter.folder)
        ids = torch.tensor([[*record.prompt_token_ids, *record.output_token_ids]])
        with torch.no_grad():
            found.append(model(ids).logits[0, len(record.prompt_token_ids) - 1 : -1])
    return found


def test_rows_are_those_of_peft(folder: Path, adapters: list[AdapterFiles]) -> None:
    replayer = with_adapters(folder, adapters)
    chosen = [adapters[0], None, adapters[1], adapters[2], adapters[0], None]
    records = [asked(one, adapter) for one, adapter in zip(records_of_lengths(*LENGTHS), chosen, strict=True)]
    expected = pefts_own(folder, records, chosen)
    assert_same(rows(replayer, records), expected)
    assert_same(rows(replayer, records[::-1]), expected[::-1])  # every adapter once more, in another order
    alone = rows(replayer_of(folder), records_of_lengths(*LENGTHS))
    for at in (0, 2, 3, 4):
        assert float((expected[at] - alone[at]).abs().max()) > 0.1  # the adapter matters
    for at in (1, 5):
        assert torch.equal(rows(replayer, [records[at]])[0], rows(replayer_of(folder), [records[at]])[0])


def test_a_shared_prefix_belongs_to_one_adapter(folder: Path, adapters: list[AdapterFiles]) -> None:
    replayer = with_adapters(folder, adapters)
    assert replayer.shares_prefixes
    base = records_of_lengths(*[(10, 6)] * 6, shared=80)
    chosen = [adapters[at % 2] for at in range(6)]
    records = [asked(one, adapter) for one, adapter in zip(base, chosen, strict=True)]
    batches = replayer.batches(records)
    assert sorted(map(sorted, batches)) == [[0, 2, 4], [1, 3, 5]]
    assert_same(rows(replayer, records), pefts_own(folder, records, chosen))


def test_the_sway_does_not_depend_on_the_adapters_that_are_loaded(folder: Path, adapters: list[AdapterFiles]) -> None:
    replayer = with_adapters(folder, adapters)
    base = records_of_lengths((20, 10), (9, 12))
    records = [asked(base[0], adapters[0]), base[1]]
    first = replayer.sway(records)
    rows(replayer, [asked(base[0], adapters[2]), asked(base[0], adapters[1])])
    for one, other in zip(first, replayer.sway(records), strict=True):
        assert one.tolist() == other.tolist()
    assert first[1].tolist() == replayer_of(folder).sway([base[1]])[0].tolist()


def test_few_adapters_and_layers_stay_loaded(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", {"cpu": 1})
    monkeypatch.setattr(module, "MAX_SLOTS", 2)
    made = [write_random_adapter(tmp_path / f"m{at}", folder, seed=at, rank=1 + at % 3) for at in range(6)]
    adapters = list(read_adapters([(f"m{at}", one) for at, one in enumerate(made)]).values())
    replayer = with_adapters(folder, adapters)
    chosen = [adapters[at] for at in (0, 1, 2, 3, 4, 5)]
    records = [asked(one, adapter) for one, adapter in zip(records_of_lengths(*LENGTHS), chosen, strict=True)]
    assert_same(rows(replayer, records), pefts_own(folder, records, chosen))
    layers = {name.split(".")[-2] for name, _ in replayer.model.named_parameters() if "lora_A" in name}
    assert len(layers) == 2


def test_a_hundred_adapters_of_one_kind_make_no_more_layers_than_one(tmp_path: Path, folder: Path) -> None:
    one = write_random_adapter(tmp_path / "first", folder, seed=0)
    adapters = [AdapterFiles.read("first", one)]
    for at in range(1, 100):
        adapters.append(replace(adapters[0], name=f"x{at}", digest=f"sha256:{at:064x}"))
    replayer = with_adapters(folder, adapters)
    base = records_of_lengths((5, 3))[0]
    found = rows(replayer, [asked(base, adapter) for adapter in adapters])
    assert all(torch.equal(found[0], other) for other in found)
    layers = {name.split(".")[-2] for name, _ in replayer.model.named_parameters() if "lora_A" in name}
    assert len(layers) == 1


def _another_width(folder: Path, made: Path) -> str:
    other = save_model(made.parent / "wide", transformers.LlamaConfig(**{**SIZES, "hidden_size": 64}))
    write_random_adapter(made, other, seed=0)
    return r"down_proj.lora_B.weight: shape \[64, 8\], and the model's layer has out_features 32"


def _more_layers(folder: Path, made: Path) -> str:
    other = save_model(made.parent / "deep", transformers.LlamaConfig(**{**SIZES, "num_hidden_layers": 3}))
    write_random_adapter(made, other, seed=0)
    return r"layers\.2\..*: the model has no such layer"


def _cut_short(folder: Path, made: Path) -> str:
    write_random_adapter(made, folder, seed=0)
    weights = made / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return "adapter_model.safetensors: not a safetensors file"


@pytest.mark.parametrize("spoil", [_another_width, _more_layers, _cut_short])
def test_an_adapter_of_another_model_is_refused_by_tensor(
    tmp_path: Path, folder: Path, spoil: Callable[[Path, Path], str]
) -> None:
    said = spoil(folder, tmp_path / "made")
    with pytest.raises(ModelError, match=said):
        with_adapters(folder, [AdapterFiles.read("made", tmp_path / "made")])


def test_a_tensor_that_the_configuration_does_not_name_is_refused(tmp_path: Path, folder: Path) -> None:
    made = write_random_adapter(tmp_path / "made", folder, seed=0)
    config = made / "adapter_config.json"
    config.write_text(config.read_text().replace('"down_proj"', '"up_proj"'))
    adapter = AdapterFiles.read("made", made)
    replayer = with_adapters(folder, [adapter])
    with pytest.raises(ModelError, match=r"down_proj.*: not in both, file and configuration"):
        rows(replayer, [asked(records_of_lengths((5, 3))[0], adapter)])


def test_an_adapter_without_a_copy_is_never_replayed_as_the_model(folder: Path, adapters: list[AdapterFiles]) -> None:
    replayer = with_adapters(folder, adapters[:1])
    with pytest.raises(ModelError, match="no copy of a1"):
        rows(replayer, [asked(records_of_lengths((5, 3))[0], adapters[1])])
