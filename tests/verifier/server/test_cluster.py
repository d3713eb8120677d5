"""A verification server whose records are replayed on a cluster."""

import io
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.verifier.server.running import Clock, Log, Server, honest, settings_in
from tests.verifier.verification.ray import loads
from weightwarden.logger.serving.event_log import Events
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.server.database.schema import VERDICT
from weightwarden.verifier.server.startup import open_server
from weightwarden.verifier.verification.ray.executor import RayExecutor

pytestmark = pytest.mark.slow

RECORDS = honest(10)


@pytest.mark.usefixtures("local_ray")
def test_a_record_that_ends_its_workers_is_unverifiable_and_the_others_get_their_verdict(
    tmp_path: Path, model_folder: Path, bundled_policy: Policy
) -> None:
    poison = [RECORDS[3].prompt_token_ids]
    load = partial(loads.poisoned, policy=bundled_policy, folder=model_folder, poison=poison)
    engine, clock, said = RayExecutor(load, bundled_policy, workers=2), Clock(), io.StringIO()
    try:
        opened = open_server(
            settings_in(tmp_path, batch_records=4), engine, clock=clock, sleep=lambda _: None, events=Events(said)
        )
        server = Server(opened, clock, said)
        Log(tmp_path / "archives").seal(RECORDS)
        server.settle()
    finally:
        engine.close()
    with opened.database.reading() as connection:
        rows = connection.execute(select(VERDICT).order_by(VERDICT.c["index"])).mappings().all()
    assert [row["index"] for row in rows] == list(range(len(RECORDS)))
    assert [row["index"] for row in rows if row["unverifiable"]] == [3]
    assert rows[3]["flagged"]
    assert server.events("record unverifiable")
    assert server.events("audited")[0]["records"] == 8  # a batch for each worker
