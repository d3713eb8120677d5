"""Optional dependencies that are not there, or broken."""

from importlib import import_module

import pytest

from weightwarden.extras import MissingExtra, how_to_add, needs_extra


def test_a_missing_package_is_named_with_what_to_install() -> None:
    with pytest.raises(MissingExtra) as caught, needs_extra("replay"):
        import_module("no_such_package.part")
    assert str(caught.value) == f"no_such_package is missing: {how_to_add('replay')}"


def test_a_package_that_is_there_and_too_old_is_not_called_missing() -> None:
    said = r"^json cannot be imported: cannot import name 'no_such_name'"
    with pytest.raises(MissingExtra, match=said), needs_extra("replay"):
        from json import no_such_name  # type: ignore[attr-defined]  # noqa: F401


def test_a_fault_of_our_own_is_not_taken_for_a_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"weightwarden\.no_such_room") as caught, needs_extra("replay"):
        import_module("weightwarden.no_such_room")
    assert not isinstance(caught.value, MissingExtra)
