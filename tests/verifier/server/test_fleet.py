"""Several models in one server: each has a series of its own, and they share one replaying thread."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import generate_latest
from sqlalchemy import select
from starlette.testclient import TestClient

from benchmarks.attackers.serving import ServedModel
from benchmarks.fleet.random_models import answers_of, make_random_model, policy_for
from tests.verifier.server.running import OPERATOR, Clock, Log, settings_in, stolen
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.api.fleet import FleetMetrics, fleet_application
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.server.database.model_database import model_database
from weightwarden.verifier.server.database.schema import ARCHIVE, DELIVERY, VERDICT
from weightwarden.verifier.server.errors import OtherSeries, ReplayTrouble, ServerSettingsError
from weightwarden.verifier.server.fleet import Fleet, FleetModel, open_fleet
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.on_demand import KnownReplayer, OnDemandExecutor, ResidentExecutors
from weightwarden.verifier.verification.verifier import Verifier

MODELS = ("pair", "thief", "alone")


@dataclass
class Model:
    """A random model, its policy, and answers of its server."""

    identity: ModelIdentity
    policy: Policy
    server: ServedModel
    loads: int = 0

    def executor(self, residents: ResidentExecutors) -> OnDemandExecutor:
        def load() -> Verifier:
            self.loads += 1
            return Verifier(TransformersReplayer.load(self.identity, device="cpu"), self.policy)

        known = KnownReplayer(
            implementation="transformers",
            dtype="float32",
            device="cpu",
            identity=self.identity,
            tokenizer=load_tokenizer(self.identity),
        )
        return OnDemandExecutor(policy=self.policy, replayer=known, open=load, residents=residents)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    found = {}
    for seed, name in enumerate(MODELS):
        identity = make_random_model(tmp_path_factory.mktemp("models") / name, seed)
        found[name] = Model(identity, policy_for(identity), ServedModel.load(identity, "float32"))
    return found


@dataclass
class Site:
    """The logs of three models, the first with two, in folders of one site."""

    folder: Path
    models: dict[str, Model]
    logs: dict[str, list[Log]] = field(default_factory=dict)
    said: io.StringIO = field(default_factory=io.StringIO)
    clock: Clock = field(default_factory=Clock)
    now: float = 0.0

    def __post_init__(self) -> None:
        for at, name in enumerate(("pair", "pair", "thief", "alone")):
            folder = self.folder / "archives" / f"{name}-{at}"
            folder.mkdir(parents=True)
            key = SigningKey(f"example.org/{name}-{at}", Ed25519PrivateKey.from_private_bytes(bytes([65 + at]) * 32))
            self.logs.setdefault(name, []).append(Log(folder, key))
        for name, logs in self.logs.items():
            (self.folder / f"{name}.pub").write_text("".join(f"{log.key.verifier}\n" for log in logs))

    def seal(self, name: str, first: int, count: int = 6, *, stealing: int = 0, log: int = 0) -> None:
        records = answers_of(self.models[name].server, name, first=first, count=count, tokens=8)
        self.logs[name][log].seal([*(stolen(record) for record in records[:stealing]), *records[stealing:]])

    def opened(self, resident: int = 1, *, database: str | None = None, **more: object) -> Fleet:
        residents = ResidentExecutors(resident)
        made = {}
        for name, logs in self.logs.items():
            settings = settings_in(
                self.folder,
                archives=tuple(str(log.folder) for log in logs),
                public_keys=self.folder / f"{name}.pub",
                database=database or str(self.folder / "verdicts.db"),
                **more,
            )
            made[name] = FleetModel(settings, self.models[name].executor(residents), self.clock)
        fleet = open_fleet(made, residents, events=Events(self.said))
        fleet.turns.monotonic = lambda: self.now
        for server in fleet.servers.values():
            server.membership.beat()
        return fleet

    def events(self, name: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in self.said.getvalue().splitlines()]
        return [event for event in found if event["event"] == name]


@pytest.fixture
def site(tmp_path: Path, models: dict[str, Model]) -> Site:
    for model in models.values():
        model.loads = 0
    return Site(tmp_path, models)


def follow(fleet: Fleet) -> None:
    for server in fleet.servers.values():
        assert server.follower.look().following


def audit(fleet: Fleet) -> list[str]:
    """Audit until nothing is left; the models in the order of their batches."""
    order = []
    while (model := fleet.turns.next()) is not None:
        fleet.turns.work(model)
        order.append(model)
    for server in fleet.servers.values():
        server.bookkeeper.account()
        server.watch.look()
    return order


def settle(fleet: Fleet) -> list[str]:
    follow(fleet)
    return audit(fleet)


def judged(fleet: Fleet, name: str) -> list[tuple[str, int]]:
    with fleet.servers[name].database.reading() as connection:
        rows = connection.execute(
            select(ARCHIVE.c.origin, VERDICT.c.index).join(ARCHIVE, VERDICT.c.archive == ARCHIVE.c.id)
        ).all()
    return sorted((origin, index) for origin, index in rows)


def states(fleet: Fleet) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, server in fleet.servers.items():
        with server.database.reading() as connection:
            found[name] = status_of(server, connection).state
    return found


def test_each_record_is_judged_once_by_its_own_model_and_the_thief_alone_alarms(site: Site, database_url: str) -> None:
    site.seal("pair", 0)
    site.seal("pair", 100, log=1)
    site.seal("thief", 200, 12, stealing=6)
    site.seal("alone", 300)
    fleet = site.opened(3, database=database_url)
    settle(fleet)
    assert judged(fleet, "pair") == [(f"example.org/pair-{log}", at) for log in (0, 1) for at in range(6)]
    assert judged(fleet, "thief") == [("example.org/thief-2", at) for at in range(12)]
    assert judged(fleet, "alone") == [("example.org/alone-3", at) for at in range(6)]
    found = states(fleet)
    assert found.pop("thief") == "alarm"
    assert set(found.values()) <= {"clear", "inconclusive"}
    with fleet.servers["pair"].database.reading() as connection:
        assert status_of(fleet.servers["pair"], connection).audit.flagged == 0


def test_one_model_in_memory_serves_all_and_is_changed_when_others_wait(site: Site) -> None:
    for name in MODELS:
        site.seal(name, 0)
    fleet = site.opened(1, batch_records=3)
    order = settle(fleet)
    assert sorted(order) == sorted([*MODELS, *MODELS])
    assert order[0] == order[1]  # the loaded one keeps its place while it has work
    assert [model.loads for model in site.models.values()] == [1, 1, 1]
    assert sum(fleet.turns.holds(name) for name in MODELS) == 1
    assert len(site.events("model loaded")) == 3


def test_a_model_with_much_work_gives_way_after_its_turn(site: Site) -> None:
    for name in ("pair", "alone"):
        site.seal(name, 0)
    fleet = site.opened(1, batch_records=1)
    follow(fleet)
    first = fleet.turns.next()
    assert first is not None
    fleet.turns.work(first)
    assert fleet.turns.next() == first
    site.now += 61.0
    second = fleet.turns.next()
    assert second not in (None, first)
    assert second is not None
    fleet.turns.work(second)
    assert fleet.turns.next() == second


def test_loaded_models_take_turns_batch_by_batch(site: Site) -> None:
    for name in MODELS:
        site.seal(name, 0)
    order = settle(site.opened(3, batch_records=3))
    assert sorted(order[:3]) == sorted(MODELS)
    assert order[3:] == order[:3]


def test_a_model_that_rests_lets_the_others_work(site: Site) -> None:
    for name in MODELS:
        site.seal(name, 0)
    fleet = site.opened(3)
    follow(fleet)
    fleet.turns.rest("pair", 10.0)
    assert "pair" not in audit(fleet)
    site.now += 10.0
    assert audit(fleet) == ["pair"]


def test_a_model_that_cannot_be_loaded_holds_no_record_and_no_other_model(site: Site) -> None:
    for name in MODELS:
        site.seal(name, 0)
    fleet = site.opened(1)
    follow(fleet)
    executor = fleet.turns._models["thief"][1]
    load: Callable[[], Executor] = executor.open

    def missing() -> Verifier:
        raise ServerSettingsError("no such weights")

    executor.open = missing
    with pytest.raises(ReplayTrouble, match="no such weights"):
        fleet.turns.work("thief")
    fleet.turns.rest("thief", 5.0)
    assert set(audit(fleet)) == {"pair", "alone"}
    executor.open = load
    site.now += 5.0
    assert audit(fleet) == ["thief"]
    assert len(judged(fleet, "thief")) == 6


def test_two_servers_share_the_work_of_all_models(site: Site, database_url: str) -> None:
    for name in MODELS:
        site.seal(name, 0)
    one, other = site.opened(1, database=database_url, batch_records=2), site.opened(1, database=database_url)
    for server in other.servers.values():
        server.membership.beat()
    follow(one)
    first = one.turns.next()
    assert first is not None
    one.turns.work(first)
    audit(other)
    audit(one)
    for name, log in (("pair", 0), ("thief", 2), ("alone", 3)):
        assert judged(one, name) == [(f"example.org/{name}-{log}", at) for at in range(6)]


def test_a_log_and_a_folder_belong_to_one_model(site: Site) -> None:
    (site.folder / "alone.pub").write_text((site.folder / "thief.pub").read_text())
    with pytest.raises(ServerSettingsError, match="thief-2 belongs to one model, and thief and alone both"):
        site.opened()
    site.logs["alone"][0].folder = site.logs["thief"][0].folder
    (site.folder / "alone.pub").write_text(f"{site.logs['alone'][0].key.verifier}\n")
    with pytest.raises(ServerSettingsError, match="a folder of archives belongs to one model, and thief and alone"):
        site.opened()


def test_shares_of_the_machine_add_up_to_one_at_most(site: Site) -> None:
    with pytest.raises(ServerSettingsError, match=r"add up to 1\.2, more than 1"):
        site.opened(audit_rate=None, compute_share=0.4)
    site.opened(audit_rate=None, compute_share=0.3)


@pytest.mark.parametrize("name", ["Big", "a/b", "", "..", "a" * 41, "é"])
def test_a_name_that_paths_and_schemas_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServerSettingsError, match="a model's name has lowercase letters"):
        model_database(str(tmp_path / "verdicts.db"), name)


def test_a_name_keeps_the_verdicts_of_one_model(site: Site) -> None:
    site.opened()
    site.models = site.models | {"pair": site.models["alone"], "alone": site.models["pair"]}
    with pytest.raises(OtherSeries, match="model pair: the database holds verdicts under policy"):
        site.opened()


def test_the_api_has_a_row_for_each_model_and_each_models_own_pages(site: Site) -> None:
    site.seal("thief", 200, 12, stealing=6)
    site.seal("alone", 300)
    fleet = site.opened(1)
    settle(fleet)
    client = TestClient(fleet_application(fleet, lambda: "thief: starting"), headers=OPERATOR)
    answer = client.get("/api/v1/models").json()
    assert (answer["state"], answer["resident_limit"]) == ("alarm", 1)
    rows = {row["model"]: row for row in answer["models"]}
    assert list(rows) == list(MODELS)
    assert rows["thief"]["status"]["state"] == "alarm"
    assert rows["thief"]["status"]["audit"]["audited_records"] == 12
    assert rows["alone"]["status"]["audit"]["audited_records"] == 6
    assert sum(row["resident"] for row in rows.values()) == 1
    assert client.get("/models/thief/api/v1/status").json()["model"] == "thief"
    flagged = client.get("/models/thief/api/v1/verdicts?flagged=true").json()["verdicts"]
    assert len(flagged) >= 3
    assert client.get(f"/models/thief/api/v1/records/{flagged[0]['position']}").status_code == 200
    assert "app.js" in client.get("/models/alone/").text
    assert client.get("/models/alone/dashboard/app.js").status_code == 200
    assert "fleet.js" in client.get("/").text
    assert client.get("/dashboard/fleet.js").status_code == 200
    assert client.get("/runbook").status_code == 200
    assert client.get("/models/other/").status_code == 404
    assert client.get("/ready").status_code == 503
    assert client.get("/health").json() == {"status": "ok"}
    for path in ("/", "/api/v1/models", "/models/thief/", "/models/thief/api/v1/status"):
        assert TestClient(client.app).get(path).status_code == 401


def test_an_acknowledgement_is_of_one_model(site: Site) -> None:
    site.seal("thief", 200, 12, stealing=6)
    fleet = site.opened(1)
    settle(fleet)
    client = TestClient(fleet_application(fleet, lambda: None), headers=OPERATOR)
    alarm = client.get("/models/thief/api/v1/alarms").json()["incidents"][0]
    said = {"by": "someone", "reason": "seen"}
    assert client.post(f"/models/alone/api/v1/alarms/{alarm['id']}/acknowledge", json=said).status_code == 404
    assert client.post(f"/models/thief/api/v1/alarms/{alarm['id']}/acknowledge", json=said).status_code == 200


def test_metrics_have_the_label_of_their_model(site: Site) -> None:
    site.seal("alone", 300)
    fleet = site.opened(1)
    settle(fleet)
    text = generate_latest(FleetMetrics(fleet).registry).decode()
    assert 'weightwarden_verifier_audited_records_total{model="alone"} 6.0' in text
    assert 'weightwarden_verifier_audited_records_total{model="pair"} 0.0' in text
    assert 'weightwarden_verifier_state{model="thief",state="inconclusive"} 1.0' in text
    assert 'weightwarden_verifier_model_resident{model="alone"} 1.0' in text
    assert text.count("# TYPE weightwarden_verifier_audited_records_total counter") == 1
    assert text.count("\nweightwarden_verifier_build_info{") == 1


def test_notices_and_events_name_the_model(site: Site) -> None:
    site.seal("thief", 200, 12, stealing=6)
    fleet = site.opened(1, command=("true",), dashboard_url="https://watch.example/")
    settle(fleet)
    with fleet.servers["thief"].database.reading() as connection:
        body = json.loads(connection.execute(select(DELIVERY.c.body)).scalars().first() or "")
    assert body["data"]["model"] == "thief"
    assert body["data"]["links"]["shown"].startswith("https://watch.example/models/thief/#")
    assert {event["model"] for event in site.events("archive checked")} == {"thief"}
    with fleet.servers["alone"].database.reading() as connection:
        assert connection.execute(select(DELIVERY.c.id)).first() is None
