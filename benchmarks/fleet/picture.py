"""A picture of the dashboard of several models, by Chromium."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.fleet.site import API_KEY, LOGS

WIDTH, HEIGHT = 1280, 620
PATIENCE = 60_000.0
"""Milliseconds until the page has a row for each model."""


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
        page.locator("#models tbody tr").nth(len(LOGS) - 1).wait_for(timeout=PATIENCE)
        page.screenshot(path=str(path))
        browser.close()
