"""Salts of the server's prefix cache: clients of different API keys share no cached prompts."""

from pathlib import Path

import pytest

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.cache_salts import CacheSalts

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdefgh"
SALT_CHARACTERS = 128
"""Longest salt that vLLM 0.32 takes (`validate_cache_salt`)."""


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text(f"{ALICE}\n{BOB}\n", encoding="ascii")
    return path


def _salt(sidecar: Sidecar, upstream: Upstream, headers: dict[str, str], **more: object) -> object:
    """The salt of a request's choices at the server."""
    upstream.asked.clear()
    body = {"model": "small", "prompt": [5, 6], "max_tokens": 2, "n": 2, **more}
    assert sidecar.client.post("/v1/completions", json=body, headers=headers).status_code == 200
    salts = {asked.get("cache_salt") for asked in upstream.asked}
    assert len(upstream.asked) == 2
    assert len(salts) == 1
    return salts.pop()


def test_each_api_key_has_a_salt_of_its_own_which_a_client_cannot_choose_and_no_record_holds(
    tmp_path: Path, model_folder: Path, upstream: Upstream, key_file: Path
) -> None:
    settings = settings_in(tmp_path, model_folder, upstream.url, api_keys=key_file)
    by_bearer, by_header = {"authorization": f"Bearer {ALICE}"}, {"x-api-key": ALICE}
    with running(settings) as sidecar:
        salt = _salt(sidecar, upstream, by_bearer)
        assert isinstance(salt, str)
        assert len(salt) == 64 <= SALT_CHARACTERS
        assert _salt(sidecar, upstream, by_header) == salt
        assert _salt(sidecar, upstream, by_bearer, cache_salt="chosen", stream=True) == salt
        assert _salt(sidecar, upstream, {"x-api-key": BOB}) not in (salt, None)
        assert all(salt not in record.model_dump_json() for record in sidecar.records())
        assert salt not in sidecar.said.getvalue()
    with running(settings) as again:  # the server's cache outlives the sidecar
        assert _salt(again, upstream, by_bearer) == salt


def test_no_salt_is_sent_without_api_keys_to_other_engines_or_if_it_is_off(
    tmp_path: Path, model_folder: Path, upstream: Upstream, key_file: Path
) -> None:
    key = {"x-api-key": ALICE}
    keyless = settings_in(tmp_path, model_folder, upstream.url)
    engine = keyless.engine.model_copy(update={"name": "sglang", "version": "0.5.23", "sampler": "sglang"})
    for settings in (
        keyless,
        settings_in(tmp_path, model_folder, upstream.url, api_keys=key_file, cache_salt="off"),
        settings_in(tmp_path, model_folder, upstream.url, api_keys=key_file, engine=engine),
    ):
        with running(settings) as sidecar:
            assert _salt(sidecar, upstream, key) is None


def test_a_salt_is_no_function_of_the_api_key_alone_and_the_object_does_not_show_its_key() -> None:
    headers = [(b"x-api-key", ALICE.encode())]
    keys = ApiKeys(ALICE, BOB)
    salts = {
        CacheSalts(bytes([number]) * 32, origin, keys).of(headers) for number in range(2) for origin in ("one", "two")
    }
    assert len(salts) == 4
    assert repr(CacheSalts(bytes(32), "one", keys)) == "<CacheSalts>"
    assert CacheSalts(bytes(32), "one", keys).of([(b"x-api-key", b"unknown")]) is None


def test_of_two_keys_the_authorization_header_names_the_tenant() -> None:
    salts = CacheSalts(bytes(32), "one", ApiKeys(ALICE, BOB))
    alice, bob = (b"authorization", b"Bearer " + ALICE.encode()), (b"x-api-key", BOB.encode())
    assert salts.of([alice, bob]) == salts.of([alice]) != salts.of([bob])
    assert salts.of([(b"authorization", b"Bearer wrong"), bob]) == salts.of([bob])
