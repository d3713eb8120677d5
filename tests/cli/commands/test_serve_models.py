"""`verify serve --models`: what a file of models may say, and what is refused."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.places import BUNDLED_POLICY, EXAMPLES
from tests.verifier.server.running import settings_in
from weightwarden.cli.commands.serve.command import serve
from weightwarden.cli.commands.serve.models import options_by_model
from weightwarden.cli.main import verify

TABLE = """
[[model]]
name = "{name}"
policy = "{policy}"
public-key = "{folder}/log.pub"
archives = ["{folder}/archives"]
{more}
"""


def table(folder: Path, name: str, more: str = "") -> str:
    return TABLE.format(name=name, policy=BUNDLED_POLICY, folder=folder, more=more)


def options(folder: Path, text: str, *more: object) -> list[str]:
    """The options of a server with such a file of models."""
    settings_in(folder)
    (folder / "models.toml").write_text(text)
    given = {
        "--models": folder / "models.toml",
        "--database": folder / "verdicts.db",
        "--audit-key": folder / "audit.key",
        "--api-keys": folder / "api.keys",
    }
    return [*(str(word) for pair in given.items() for word in pair), *map(str, more)]


def by_model(folder: Path, text: str, *more: object) -> dict[str, dict[str, Any]]:
    context = serve.make_context("serve", options(folder, text, *more))
    return options_by_model(context, context.params["models_path"], context.params)


def refused(folder: Path, text: str, *more: object) -> str:
    result = CliRunner().invoke(verify, ["serve", *options(folder, text, *more)])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def test_a_models_options_replace_those_of_the_command_line(tmp_path: Path) -> None:
    text = table(tmp_path, "one", "audit-rate = 0.5\nalarm-level = 1e-5") + table(
        tmp_path, "two", 'audit-by = "tokens"'
    )
    found = by_model(tmp_path, text, "--audit-rate", 0.25, "--max-lag", 60)
    assert list(found) == ["one", "two"]
    assert [own["audit_rate"] for own in found.values()] == [0.5, 0.25]
    assert [own["alarm_level"] for own in found.values()] == [1e-5, 1e-4]
    assert [own["audit_by"] for own in found.values()] == ["records", "tokens"]
    assert [own["max_lag"] for own in found.values()] == [60, 60]
    assert found["one"]["archives"] == (f"{tmp_path}/archives",)


def test_a_share_of_the_machine_is_divided_among_the_models_without_a_rate_of_their_own(tmp_path: Path) -> None:
    text = table(tmp_path, "one", "audit-rate = 0.5") + table(tmp_path, "two") + table(tmp_path, "three")
    found = by_model(tmp_path, text, "--compute-share", 0.8)
    assert [(own["audit_rate"], own["compute_share"]) for own in found.values()] == [
        (0.5, None),
        (None, 0.4),
        (None, 0.4),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table [[model]]"),
        ("model = 3", "no table [[model]]"),
        ("models = 3\n[[model]]\nname = 'a'", "models: there is nothing but a table [[model]] for each model"),
        ("[[model]]\npolicy = 'p'", "table 1: no name, a text"),
        ("[[model]]\nname = 3", "table 1: no name, a text"),
        ("[[model]]\nname = 'a'\n[[model]]\nname = 'a'", "model a: the name is given twice"),
        ("[[model]]\nname = 'a'\npollicy = 'p'", "model a: pollicy: there is no such option"),
        ("[[model]]\nname = 'a'\nlisten = '127.0.0.1:1'", "model a: listen: there is no such option"),
        ("[[model]]\nname = 'a'\naudit-rate = 2", "model a: audit-rate: 2"),
        ("[[model]]\nname = 'a'\npolicy = ['p']", "model a: policy: the option takes a single value"),
        ("[[model]]\nname = 'a'", "model a: missing option --archives"),
        ("[[model]", "not TOML"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    said = refused(tmp_path, text, "--audit-rate", 0.5)
    assert words in said
    assert "models.toml" in said.replace(" ", "")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--policy", "p"), "--policy excludes --models: give it in the table of each model"),
        (("--archives", "a"), "--archives excludes --models"),
        (("--executor", "ray"), "--executor ray excludes --models"),
    ],
)
def test_options_that_models_cannot_share_are_refused(tmp_path: Path, more: tuple[str, str], words: str) -> None:
    assert words in refused(tmp_path, table(tmp_path, "one"), "--audit-rate", 0.5, *more)


def test_two_models_with_one_log_are_refused_before_anything_is_loaded(tmp_path: Path, model_folder: Path) -> None:
    said = refused(tmp_path, table(tmp_path, "one") + table(tmp_path, "two"), "--audit-rate", 0.5)
    assert "the log example.org/log belongs to one model, and one and two both name its key" in said
    assert not list(tmp_path.glob("verdicts*"))


def test_without_models_there_is_one_with_its_own_options(tmp_path: Path) -> None:
    given = options(tmp_path, "")[2:]
    result = CliRunner().invoke(verify, ["serve", *given, "--audit-rate", "1"])
    assert (result.exit_code, "missing option --archives" in result.output) == (2, True)
    result = CliRunner().invoke(verify, ["serve", *given, "--resident-models", "1"])
    assert (result.exit_code, "--resident-models requires --models" in result.output) == (2, True)


def test_the_doctor_names_the_model_of_a_finding(tmp_path: Path, model_folder: Path) -> None:
    text = table(tmp_path, "one", f'model = "{model_folder}"') + table(tmp_path, "two", 'model = "/nowhere"')
    result = CliRunner().invoke(verify, ["doctor", *options(tmp_path, text, "--audit-rate", 0.5, "--json")])
    assert result.exit_code == 2
    assert '"two: model"' in result.output
    assert "belongs to one model" in result.output
    assert result.output.count('"audit key"') == 1


def test_the_example_is_of_two_models_one_of_them_with_two_sidecars(tmp_path: Path) -> None:
    found = by_model(tmp_path, (EXAMPLES / "verifier/models.toml").read_text(), "--audit-rate", 0.01)
    assert [(name, len(own["archives"]), own["audit_rate"]) for name, own in found.items()] == [
        ("chat-8b", 2, 0.01),
        ("code-32b", 1, 0.002),
    ]


def test_the_command_names_every_option_that_the_file_excludes() -> None:
    from weightwarden.cli.commands.serve.models import OF_ONE_MODEL, OF_THE_SERVER

    names = {str(parameter.name) for parameter in serve.params}
    assert names >= OF_THE_SERVER - {"is_json"}
    flags = {flag for parameter in serve.params if isinstance(parameter, click.Option) for flag in parameter.opts}
    assert flags >= OF_ONE_MODEL
