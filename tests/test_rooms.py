"""The direction of imports: each room imports the rooms above it in these lists, and none below."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGES = ("sampler", "logger", "verifier", "cli")
ROOMS = {
    "logger": (
        ("errors", "files", "growth"),
        ("record", "release", "gate", "request_stamp", "tlog", "serving", "database", "disk_usage", "model", "formats"),
        ("text", "grammar", "archive", "store"),
        ("sealing", "resealing", "rollover", "doctor"),
        ("sidecar",),
    ),
    "logger/sidecar": (
        ("errors", "limits", "metrics", "prompts", "reading", "logprobs"),
        ("wire", "log", "upstream"),
        ("constraints", "model", "workers"),
    ),
    "verifier": (
        ("columns", "errors", "types", "statistics", "audit_selection", "http_client", "egress"),
        ("logits", "model", "provider"),
        ("candidates",),
        ("scoring",),
        ("policy",),
        ("replay",),
        ("calibration", "verification", "probe"),
        ("bundle",),
        ("server",),
    ),
    "verifier/server": (
        ("errors", "settings"),
        ("database",),
        ("audit", "ingest", "accounting"),
        ("alerting",),
        ("startup",),
        ("fleet",),
        ("api",),
    ),
    "cli": (
        ("exit_codes", "progress", "reports"),
        ("options", "groups", "verify_and_report"),
        ("commands", "sidecar"),
    ),
}
"""Rooms of a package from the foundation up. Rooms of one row may import each other, one way (`test_no_circle`).
Files at the top of a package that are not named here put its rooms together, and may import all of them."""


def imports_of(path: Path) -> set[str]:
    """The project's modules that a file imports, as paths below `weightwarden`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.removeprefix("weightwarden.").replace(".", "/") for name in names if name.startswith("weightwarden.")}


def files_of(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def room_of(path: str, package: str) -> str | None:
    """The room of a package in which a module lies."""
    inside = path.removeprefix(f"{package}/")
    return inside.split("/")[0].removesuffix(".py") if inside != path else None


def circles(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others."""
    left = {name: set(targets) for name, targets in edges.items()}
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_those_before_them_alone(package: str) -> None:
    after = PACKAGES[PACKAGES.index(package) + 1 :]
    for path in files_of(package):
        wrong = {name for name in imports_of(path) if name.split("/")[0] in (*after, "api")}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_downwards_alone(package: str) -> None:
    level = {room: at for at, rooms in enumerate(ROOMS[package]) for room in rooms}
    found = [room for path in files_of(package) if (room := room_of(str(path.relative_to(ROOT)), package)) in level]
    assert set(level) == set(found)
    for path in files_of(package):
        room = room_of(str(path.relative_to(ROOT)), package)
        if room not in level:
            continue
        for name in imports_of(path):
            other = room_of(name, package)
            if name != package and other is not None and other != room:
                assert other in level, f"{path.relative_to(ROOT)} imports {name}, which puts rooms together"
                assert level[other] <= level[room], f"{path.relative_to(ROOT)} imports {name} from above"


@pytest.mark.parametrize("package", ROOMS)
def test_no_circle(package: str) -> None:
    edges: dict[str, set[str]] = {}
    for path in files_of(package):
        room = room_of(str(path.relative_to(ROOT)), package)
        if room is None or room == "__init__":
            continue
        others = {room_of(name, package) for name in imports_of(path)} - {None, room}
        edges.setdefault(room, set()).update(other for other in others if other is not None)
    assert circles(edges) == []


def test_every_room_says_what_it_holds() -> None:
    for package in PACKAGES:
        for folder in {path.parent for path in files_of(package)}:
            text = (folder / "__init__.py").read_text(encoding="utf-8")
            assert ast.get_docstring(ast.parse(text)), f"{folder.relative_to(ROOT)}: no docstring"


def test_benchmarks_and_tests_import_by_the_one_name() -> None:
    for package in ("benchmarks", "tests"):
        for path in files_of(package):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    assert node.module.split(".")[0] not in PACKAGES, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_only_the_sidecars_commands_import_the_sidecar() -> None:
    for package in ("verifier", "cli"):
        for path in files_of(package):
            if "cli/sidecar" not in str(path):
                wrong = {name for name in imports_of(path) if name.startswith("logger/sidecar")}
                assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_names_the_rooms_that_it_imports(package: str) -> None:
    rooms = {room for row in ROOMS[package] for room in row}
    for room in sorted(rooms):
        folder = ROOT / package / room
        if not folder.is_dir():
            continue
        imported = {room_of(name, package) for path in folder.rglob("*.py") for name in imports_of(path)}
        folders = sorted(one for one in imported & rooms - {room} if one and (ROOT / package / one).is_dir())
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        said = re.search(r"Imports ([\w, ]+)\.", " ".join(text.split()))
        named = sorted(said[1].replace(" and ", ", ").split(", ")) if said else []
        assert named == folders, f"{package}/{room}/__init__.py: imports {', '.join(folders) or 'no room'}"
