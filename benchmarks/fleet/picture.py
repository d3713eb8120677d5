"""A picture of the dashboard of several models, by Chromium."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.fleet.site import API_KEY, LOGS

WIDTH, HEIGHT = 1280, 620


def take_picture(url: str, path: Path) -> None:
    """Write a picture of the dashboard at a URL.

    Raises:
        RuntimeError: Chromium is not installed.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(
            http_credentials={"username": "operator", "password": API_KEY}, viewport={"width": WIDTH, "height": HEIGHT}
        )
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(f"document.querySelectorAll('#models tbody tr').length === {len(LOGS)}", timeout=60_000)
        page.screenshot(path=str(path))
        browser.close()
