"""The TOML files of `sidecar run` and `verify serve`."""

import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.examples.reading import commented_options, toml_in
from tests.places import EXAMPLES
from tests.verifier.server.running import KEY, Clock
from weightwarden.cli.commands.serve.command import serve
from weightwarden.cli.commands.serve.options import settings_of
from weightwarden.cli.main import verify
from weightwarden.cli.sidecar.engine import engine_settings
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.logger.files.private import write_private
from weightwarden.logger.serving.event_log import Events
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.startup import open_server
from weightwarden.verifier.verification.verifier import Verifier


def test_every_option_of_the_sidecars_example_exists_and_can_be(tmp_path: Path) -> None:
    result = CliRunner().invoke(sidecar, ["run", "--config", str(toml_in(tmp_path, "sidecar/sidecar.toml"))])
    assert result.exit_code == 2
    assert f"{tmp_path}/seed.key: cannot be read" in result.output  # all options were understood


def test_the_example_of_an_engine_profile_is_one_and_says_what_the_sidecars_example_says() -> None:
    path = EXAMPLES / "sidecar" / "profile.toml"
    options = tomllib.loads((EXAMPLES / "sidecar" / "sidecar.toml").read_text())
    same = {name.replace("-", "_"): options[name] for name in ("sampler", "engine-version", "grammar-backend")}
    absent = {"engine": None, "speculative_decoding": False, "adapter": (), "adapters": ()}
    found = engine_settings({**absent, **same, "engine_profile": path})
    assert found.engine == EngineProfile.read(path).of_record()
    speculates = re.sub(r"^# (\[speculation\]|method|tokens|acceptance)", r"\1", path.read_text(), flags=re.MULTILINE)
    profile = EngineProfile.model_validate(tomllib.loads(speculates))
    assert profile.speculation is not None
    assert profile.speculation.acceptance == "coupled"
    assert profile.digest() != EngineProfile.read(path).digest()


def test_every_option_of_the_verifiers_example_exists_and_can_be(tmp_path: Path) -> None:
    result = CliRunner().invoke(verify, ["serve", "--config", str(toml_in(tmp_path, "verifier/verifier.toml"))])
    assert result.exit_code == 2
    assert f"{tmp_path}/policy.toml" in result.output  # all options were understood


@pytest.mark.parametrize(
    ("name", "command"),
    [("sidecar/sidecar.toml", sidecar.commands["run"]), ("verifier/verifier.toml", serve)],
    ids=["sidecar", "verifier"],
)
def test_alternatives_in_comments_exist_and_can_be(name: str, command: click.Command) -> None:
    options = {flag[2:]: parameter for parameter in command.params for flag in parameter.opts}
    alternatives = commented_options(name)
    assert alternatives
    context = click.Context(command)
    for key, value in alternatives.items():
        given = list(map(str, value)) if isinstance(value, list) else str(value)
        options[key].type_cast_value(context, given)


def test_a_server_opens_with_the_verifiers_example(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    (tmp_path / "log.key.pub").write_text(f"{KEY.verifier}\n")
    write_private(tmp_path / "audit.key", b"2" * 64 + b"\n")
    write_private(tmp_path / "api.keys", b"# operators\n" + b"0" * 64 + b"\n")
    write_private(tmp_path / "read.keys", b"# Prometheus\n" + b"1" * 64 + b"\n")
    given = serve.make_context("serve", ["--config", str(toml_in(tmp_path, "verifier/verifier.toml"))]).params
    opened = open_server(
        settings_of(given), Verifier(replayer, bundled_policy), clock=Clock(), sleep=lambda _: None, events=Events()
    )
    assert opened.settings.archives == (str(tmp_path),)
    assert (tmp_path / "verdicts.db").exists()


def test_sidecar_and_verifier_are_set_up_for_each_other() -> None:
    logs = tomllib.loads((EXAMPLES / "sidecar/sidecar.toml").read_text())
    audits = tomllib.loads((EXAMPLES / "verifier/verifier.toml").read_text())
    assert audits["archives"] == [logs["archives"]]
    assert audits["max-model-len"] == logs["max-model-len"]
    assert audits["archive-interval"] >= 2 * logs["seal-every"]
