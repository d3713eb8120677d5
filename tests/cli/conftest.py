from collections.abc import Iterator
from typing import Any

import pytest

from tests.logger.sidecar.scripted_upstream import Upstream, scripted_upstream


@pytest.fixture(scope="session", autouse=True)
def _models_load_once() -> Iterator[None]:
    """Each model is loaded once for all commands that replay on it with the same options, instead of by each.

    Tests elsewhere that follow in the same process get these models, too.
    """
    from weightwarden.verifier.model.identity import ModelIdentity
    from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

    load, loaded = TransformersReplayer.load, dict[Any, TransformersReplayer]()

    def once(identity: ModelIdentity, **options: Any) -> TransformersReplayer:
        key = (identity.digest, identity.path, *sorted(identity.adapters), *sorted(options.items()))
        if key not in loaded:
            loaded[key] = load(identity, **options)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformersReplayer, "load", once)
        yield


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with scripted_upstream() as server:
        yield server
