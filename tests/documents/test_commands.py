"""Every command of the pages runs as it is copied, in order, in a folder like a fresh clone.

`pytest -m slow -rP tests/documents` shows the transcript.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents.blocks import PAGES, SHELL, blocks_of, predecessor
from tests.documents.clone import copy_of_the_tree, make_environment
from tests.documents.page_run import Ports, run_page
from tests.places import ROOT

pytestmark = pytest.mark.slow

WITH_COMMANDS = [page for page in PAGES if any(block.language in SHELL | {"python"} for block in blocks_of(page))]


@pytest.fixture(scope="module")
def folder_after(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Callable[[Path], Path]:
    """The folder of a page after its commands, which run once. A page that continues another begins with its folder."""
    del model_folder  # written once for all
    top = tmp_path_factory.mktemp("pages")
    (top / "code").mkdir()
    copy_of_the_tree(top / "code")
    make_environment(top / "venv", top / "code")
    done: dict[Path, Path] = {}
    failed: dict[Path, AssertionError] = {}
    ports = Ports()

    def after(page: Path) -> Path:
        if page in failed:
            raise AssertionError(f"{page.name} failed before: {str(failed[page]).splitlines()[0]}")
        if page not in done:
            folder = top / page.stem
            before = predecessor(page)
            if before is None:
                folder.mkdir()
                copy_of_the_tree(folder)
                (folder / ".venv").symlink_to(top / "venv")
            else:
                shutil.copytree(after(before), folder, symlinks=True)
            try:
                run_page(page, folder, ports)
            except AssertionError as error:
                failed[page] = error
                raise
            done[page] = folder
        return done[page]

    return after


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs(page: Path, folder_after: Callable[[Path], Path]) -> None:
    folder_after(page)
