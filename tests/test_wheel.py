"""The wheel: what it installs, and what stands beside it in other people's environments."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.places import ROOT

pytestmark = pytest.mark.slow

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
EVERYTHING = "import weightwarden, weightwarden.cli.main, weightwarden.cli.sidecar.main, weightwarden.logger.record"
OTHER = "logger==1.4"
"""A package of PyPI with the name that one of this project's had."""


def build(source: Path, folder: Path) -> Path:
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter whose site-packages are empty but for a path to those of the tests."""
    venv.create(tmp_path / "venv", symlinks=True)
    site = site_of(tmp_path / "venv" / "bin" / "python")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "venv" / "bin" / "python"


def site_of(python: Path) -> Path:
    [site] = python.parents[1].glob("lib/python*/site-packages")
    return site


def install(python: Path, *what: str | Path) -> None:
    command = [*PIP, "--python", str(python), "install", "--no-deps", "--force-reinstall", *map(str, what)]
    subprocess.run(command, check=True)


def run(python: Path, code: str, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", code], cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_one_name_is_installed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"weightwarden"}
    for needed in (
        "py.typed",
        "cli/bundled/policy.toml",
        "logger/model/defaults.json",
        "verifier/server/dashboard/app.js",
    ):
        assert f"weightwarden/{needed}" in names


def test_a_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [sdist] = tmp_path.glob("*.tar.gz")
    (tmp_path / "wheel").mkdir()
    again = build(sdist, tmp_path / "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_a_users_own_modules_of_the_same_names_are_not_ours(wheel: Path, python: Path, tmp_path: Path) -> None:
    install(python, wheel)
    for name in ("logger", "cli", "sampler", "verifier"):
        (tmp_path / f"{name}.py").write_text("MINE = True\n")
    said = run(python, f"{EVERYTHING}; import logger; print(logger.MINE, weightwarden.__file__)", tmp_path)
    mine, path = said.split()
    assert mine == "True"
    assert Path(path).parent == site_of(python) / "weightwarden"


@pytest.mark.parametrize("first", ["other", "ours"])
def test_beside_another_package_of_that_name(wheel: Path, python: Path, tmp_path: Path, first: str) -> None:
    packages: list[str | Path] = [OTHER, wheel] if first == "other" else [wheel, OTHER]
    for package in packages:
        try:
            install(python, package)
        except subprocess.CalledProcessError:
            if package == OTHER and "WEIGHTWARDEN_REQUIRE_REGISTRY" not in os.environ:
                pytest.skip(f"the registry does not give {OTHER}")
            raise
    code = f"{EVERYTHING}; import logger, importlib.metadata as m; print(m.version('logger'), logger.__file__)"
    version, path = run(python, code, tmp_path).split()
    assert version == "1.4"
    assert Path(path).parent == site_of(python) / "logger"


def test_its_types_hold_for_who_installs_it(wheel: Path, python: Path, tmp_path: Path) -> None:
    install(python, wheel)
    script = tmp_path / "script.py"
    script.write_text(
        "import weightwarden as ww\n"
        'run = ww.verify(ww.read_traffic("t.jsonl"), ww.read_policy("p.toml"), ww.load_model())\n'
        "reveal_type(run.verdict)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--no-pretty"]
    command += ["--config-file", os.devnull, "--cache-dir", str(tmp_path / "cache"), str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Literal['clear']" in done.stdout, done.stdout + done.stderr
    assert "Success" in done.stdout, done.stdout
