"""Low-rank adapters: clients choose one by its name, the server is asked for it, and the record names its digest."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.logger.model.small_adapter import write_adapter
from tests.logger.sidecar.running import MODEL, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream
from tests.logger.sidecar.test_doctor import CARD, found, the_fault, upstream
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import AdapterFiles
from weightwarden.logger.record import Engine
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.sidecar.upstream.replica_url import replica_urls

NAMES = ("tone", "org/terse")


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path, shared_upstream: Upstream) -> Settings:
    pairs = tuple((name, write_adapter(tmp_path / f"adapter{at}", name.encode())) for at, name in enumerate(NAMES))
    return settings_in(tmp_path, model_folder, shared_upstream.url, adapters=pairs)


def test_the_model_of_a_request_chooses_an_adapter(settings: Settings, shared_upstream: Upstream) -> None:
    shared_upstream.asked.clear()
    digests = {name: AdapterFiles.read(name, folder).digest for name, folder in settings.adapters}
    with running(settings) as sidecar:
        for name in (MODEL, *NAMES):
            answered = sidecar.complete(model=name, max_tokens=3)
            assert answered.status_code == 200, answered.text
            assert answered.json()["model"] == name
        messages = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "model": "tone"}
        assert sidecar.client.post("/v1/chat/completions", json=messages).json()["model"] == "tone"
        assert sidecar.client.post("/v1/messages", json=messages).json()["model"] == "tone"
        asked = {"input": "Hello", "model": "tone", "max_output_tokens": 3, "store": False}
        assert sidecar.client.post("/v1/responses", json=asked).json()["model"] == "tone"
        records = sidecar.await_records(6)
    assert [body["model"] for body in shared_upstream.asked] == ["upstream-model", *NAMES, "tone", "tone", "tone"]
    assert {record.model for record in records} == {MODEL}
    named = [None if record.adapter is None else (record.adapter.name, record.adapter.digest) for record in records]
    tone = ("tone", digests["tone"])
    assert named == [None, tone, ("org/terse", digests["org/terse"]), tone, tone, tone]
    assert len({record.seed for record in records[:3]}) == 3


def test_the_models_are_the_model_and_its_adapters(settings: Settings) -> None:
    with running(settings) as sidecar:
        cards = sidecar.client.get("/v1/models").json()["data"]
        assert [card["id"] for card in cards] == [MODEL, *NAMES]
        assert [card.get("parent") for card in cards] == [None, MODEL, MODEL]
        assert sidecar.client.get("/v1/models/org/terse").json() == cards[2]
        unknown = sidecar.client.get("/v1/models/other")
        assert unknown.status_code == 404
        refused = sidecar.complete(model="other", max_tokens=3)
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "model_not_found"
        loading = {"lora_name": "mine", "lora_path": "/tmp/mine"}
        assert sidecar.client.post("/v1/load_lora_adapter", json=loading).status_code == 404
        assert sidecar.records() == []


def test_adapters_that_cannot_be_told_from_the_model_or_named_are_refused(settings: Settings, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "one")
    for name, said in ((MODEL, "is the model's own name"), ("upstream-model", "is the model's name on the server")):
        with (
            pytest.raises((ModelError, SettingsError), match=said),
            opened(replace(settings, adapters=((name, folder),))),
        ):
            pass
    other = Engine(name="sglang", version="0.5.23", sampler="sglang")
    with pytest.raises(SettingsError, match="vLLM's form only"), opened(replace(settings, engine=other)):
        pass
    with pytest.raises(ModelError, match="no adapter_config"), opened(replace(settings, adapters=(("a", tmp_path),))):
        pass


def test_the_doctor_lists_adapters_and_misses_those_that_the_server_lacks(settings: Settings, tmp_path: Path) -> None:
    cards = [{**CARD, "id": name} for name in ("upstream-model", *NAMES)]
    with upstream(cards) as url:
        fit = replace(settings, upstreams=replica_urls([url]))
        listed = found(fit, "adapters")
        assert [finding.status.value for finding in listed] == ["ok"] * 3
        assert "tone: rank 8, sha256:" in listed[0].found
        assert "--enable-lora --max-lora-rank 8" in listed[2].found
        assert found(fit, "upstream")[0].status.value == "ok"
    with upstream(cards[:2]) as url:
        fault = the_fault(replace(settings, upstreams=replica_urls([url])), "upstream")
        assert "does not serve 1 of 2 adapters, such as org/terse" in fault.found
        broken = replace(settings, upstreams=replica_urls([url]), adapters=(("a", tmp_path),))
        assert "adapter_config.json" in the_fault(broken, "adapters").found
        same = replace(settings, upstreams=replica_urls([url]), adapters=((MODEL, settings.adapters[0][1]),))
        assert "own name" in the_fault(same, "adapters").found
