"""The dashboard in a real browser: what it shows is what the server knows, by keyboard alone, without reloading."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import select

from tests.verifier.server.ingest.test_follower import changed
from tests.verifier.server.running import API_KEY, Clock, Log, Server, honest, server_in, stolen
from tests.verifier.server.serving import served
from tests.verifier.server.tap_reports import put, report
from weightwarden.sampler.schemes import SCHEMES
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.database.schema import ARCHIVE

pytestmark = pytest.mark.slow

PATIENCE = 30_000.0
"""Milliseconds that something may take to show on a busy machine; the page asks every 5 and 15 seconds."""
RECORDS = honest(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("WEIGHTWARDEN_REQUIRE_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, and what the browser complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@contextmanager
def visiting(browser: Browser, url: str, scheme: str = "light", width: int = 1280) -> Iterator[Visit]:
    """The dashboard, opened with the key as the password; nothing may be complained of or loaded from elsewhere."""
    context = browser.new_context(
        http_credentials={"username": "operator", "password": API_KEY},
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 900},
    )
    visit = Visit(context.new_page())
    visit.page.set_default_timeout(PATIENCE)
    visit.page.on("console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    elsewhere: list[str] = []
    visit.page.on(
        "request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith((url, "data:")) else None
    )
    visit.page.goto(url)
    try:
        yield visit
        assert visit.complaints == []
        assert elsewhere == []
    finally:
        context.close()


def shows(page: Page, selector: str, text: str) -> None:
    expect(page.locator(selector)).to_contain_text(text, timeout=PATIENCE)


def state(page: Page, word: str) -> None:
    expect(page.locator("#state .word")).to_have_text(word, timeout=PATIENCE)


@pytest.fixture(scope="module")
def poisoned(
    tmp_path_factory: pytest.TempPathFactory, replayer: TransformersReplayer, bundled_policy: Policy
) -> Server:
    """A server before honest archives, stolen ones, and every kind of poison."""
    folder = tmp_path_factory.mktemp("poisoned")
    server = server_in(folder, replayer, bundled_policy, Clock(), show_text=True, tokens_per_day=1e9)
    log = Log(folder / "archives")
    log.seal(RECORDS[:6])
    signature = log.seal(RECORDS[6:8])
    data = bytearray(signature.read_bytes())
    data[data.index(b"weightwarden-seal/1 ") + 150] ^= 1
    signature.write_bytes(data)
    truncated = log.seal(RECORDS[8:10])
    truncated.write_bytes(truncated.read_bytes()[:-64])
    log.seal([changed(record, model="another-model") for record in RECORDS[10:12]])
    with pytest.MonkeyPatch.context() as later:
        later.setitem(SCHEMES, "vllm-v9", SCHEMES["vllm-v2"])
        engine = RECORDS[0].engine.model_dump() | {"sampler": "vllm-v9"}
        log.seal([changed(record, engine=engine) for record in RECORDS[12:14]])
    log.skip(RECORDS[14:16])
    log.seal([*RECORDS[16:22], *(stolen(record) for record in RECORDS[22:28])])
    log.seal(RECORDS[28:])
    server.settle()
    return server


def test_what_is_quarantined_is_named_and_the_rest_is_verified(browser: Browser, poisoned: Server) -> None:
    with served(poisoned) as url, visiting(browser, url) as visit:
        page = visit.page
        state(page, "alarm")
        expect(page).to_have_title(re.compile("^ALARM .* weightwarden$"))
        for words in (
            "signature",
            "000000000006-000000000008.parquet",
            "000000000008-000000000010.parquet",
            "model: another-model, not SmolLM2-135M-Instruct",
            "unknown sampling scheme 'vllm-v9'",
            "records 14 to 15 of example.org/log are in no archive that holds",
        ):
            shows(page, "#quarantine", words)
        expect(page.locator("#archives tbody tr", has_text="audited")).to_have_count(3, timeout=PATIENCE)
        shows(page, "#tiles", "of 20 audited")
        with poisoned.opened.database.reading() as connection:
            states = sorted(connection.execute(select(ARCHIVE.c.state)).scalars())
        assert states == ["audited"] * 3 + ["quarantined"] * 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_there_and_looks_are_kept(
    browser: Browser, poisoned: Server, tmp_path: Path, scheme: str
) -> None:
    with served(poisoned) as url, visiting(browser, url, scheme) as visit:
        page = visit.page
        state(page, "alarm")
        expect(page.locator("#rates svg")).to_have_count(8, timeout=PATIENCE)
        expect(page.locator("#margins svg").first).to_be_visible(timeout=PATIENCE)
        for channel in ("tokens under the threshold", "early stops", "refusals", "timing"):
            shows(page, "#ledger", channel)
        shows(page, "#tiles", "a day")
        page.screenshot(path=str(tmp_path / f"dashboard-{scheme}.png"), full_page=True)
        kept = os.environ.get("WEIGHTWARDEN_SCREENSHOTS")
        if kept:
            page.screenshot(path=f"{kept}/dashboard-{scheme}.png", full_page=True)
            page.goto(f"{url}/#/records/12")
            expect(page.locator("#record-tokens .token.dangerous").first).to_be_visible(timeout=PATIENCE)
            page.screenshot(path=f"{kept}/record-{scheme}.png", full_page=True)


def test_a_record_by_keyboard_alone(browser: Browser, poisoned: Server) -> None:
    with served(poisoned) as url, visiting(browser, url) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        expect(page.locator("#skip")).to_be_focused()
        link = page.locator("#records tbody a").first
        expect(link).to_be_visible(timeout=PATIENCE)
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('href')?.startsWith('#/records/')"):
                break
        page.keyboard.press("Enter")
        expect(page.locator("#record-title")).to_be_focused(timeout=PATIENCE)
        expect(page.locator("#record-tokens .tokens .token")).to_have_count(8, timeout=PATIENCE)
        shows(page, "#record-reasons", "worst tokens")
        while not page.evaluate("document.activeElement.classList.contains('token')"):
            page.keyboard.press("Tab")
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")  # the next token that is not safe
        shows(page, "#token-panel", "dangerous")
        shows(page, "#token-panel", "Admissible instead")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Home")
        shows(page, "#token-panel", "safe")
        page.go_back()
        expect(page.locator("#overview")).to_be_visible(timeout=PATIENCE)


def test_hostile_text_stays_text(
    browser: Browser, tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, Clock(), show_text=True)
    hostile = replayer.tokenizer.encode("<img src=x onerror=alert(1)>\u202e<script>", add_special_tokens=False)
    log = Log(tmp_path / "archives")
    log.seal([changed(RECORDS[0], output_token_ids=[*hostile][:8], finish_reason="length"), RECORDS[1]])
    log.seal([changed(RECORDS[2], model="<script>alert(1)</script>")])
    server.settle()
    with served(server) as url, visiting(browser, url) as visit:
        page = visit.page
        shows(page, "#quarantine", "<script>alert(1)</script>")
        page.goto(f"{url}/#/records/0")
        expect(page.locator("#record-tokens .tokens .token")).to_have_count(8, timeout=PATIENCE)
        assert page.locator("#record img, #record script, #quarantine script").count() == 0


def test_a_tap_is_a_tile_and_a_row_and_its_incident_leads_there(browser: Browser, tapped: Server, tap: Path) -> None:
    put(tap, "1.json", report(tapped.clock(), datagrams=2))
    put(tap, "2.json", b"<script>alert(1)</script>")
    tapped.settle()
    with served(tapped) as url, visiting(browser, url) as visit:
        page = visit.page
        state(page, "alarm")
        tile = page.locator("#tiles .tile.dangerous", has_text="Frames on the link")
        expect(tile).to_contain_text("2 unexplained", timeout=PATIENCE)
        page.locator(".incident", has_text="UDP datagram (2)").get_by_text("Show the taps").click()
        row = page.locator("#taps tbody tr")
        expect(row).to_be_visible(timeout=PATIENCE)
        for words in (str(tap), "unexplained", "UDP datagram (2)", "120 bytes"):
            expect(row).to_contain_text(words, timeout=PATIENCE)
        assert page.locator("#incidents script").count() == 0


def test_an_alarm_comes_and_is_acknowledged_without_reloading(
    browser: Browser, tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, Clock())
    log = Log(tmp_path / "archives")
    log.seal(RECORDS[:6])
    server.settle()
    with served(server) as url, visiting(browser, url) as visit:
        page = visit.page
        page.evaluate("window.neverReloaded = true")
        state(page, "clear")
        shows(page, "#archives", "6")
        log.seal([stolen(record) for record in RECORDS[6:12]])
        server.settle()
        state(page, "alarm")
        shows(page, "#announcement", "The state is now alarm")
        page.get_by_role("button", name="Acknowledge monitor").focus()
        page.keyboard.press("Enter")
        expect(page.locator("dialog#acknowledge")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog#acknowledge")).to_be_hidden()
        page.keyboard.press("Enter")
        page.keyboard.type("Ada")
        page.keyboard.press("Tab")
        page.keyboard.type("a kernel was changed")
        page.keyboard.press("Tab")
        while page.evaluate("document.activeElement.type") != "submit":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("dialog#acknowledge")).to_be_hidden(timeout=PATIENCE)
        server.opened.watch.look()
        state(page, "inconclusive")
        assert page.evaluate("window.neverReloaded")


def test_a_lost_connection_is_said_and_the_figures_come_back(
    browser: Browser, tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, Clock())
    with served(server) as url:
        context = browser.new_context(http_credentials={"username": "me", "password": API_KEY})
        page = context.new_page()
        page.goto(url)
        state(page, "inconclusive")
    shows(page, "#lost", "onnection lost")
    with served(server):
        expect(page.locator("#lost")).to_be_empty(timeout=2 * PATIENCE)
    context.close()


def test_on_a_narrow_screen_nothing_makes_the_page_scroll_sideways(browser: Browser, poisoned: Server) -> None:
    with served(poisoned) as url, visiting(browser, url, "dark", width=420) as visit:
        state(visit.page, "alarm")
        expect(visit.page.locator("#rates svg")).to_have_count(8, timeout=PATIENCE)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420


def of_state(name: str, folder: Path, replayer: TransformersReplayer, policy: Policy) -> Server:
    """A server in a state: empty, too-little, clear, or an alarm of one of the three concerns."""
    some = {"audit_rate": 0.9, "max_record_weight": 8, "tokens_per_day": 1e9}
    server = server_in(folder, replayer, policy, Clock(), **some)
    log = Log(folder / "archives")
    if name == "empty":
        server.settle()
        return server
    records = honest(90) if name == "clear" else RECORDS[:12]
    for start in range(0, len(records), 6):
        log.seal(records[start : start + 6])
        server.clock.now += 300
        server.settle()
    if name == "evidence":
        log.seal([stolen(record) for record in RECORDS[12:17]])
    elif name == "log":
        (folder / "archives" / "000000000099-000000000111.parquet").write_bytes(b"a file that somebody left here")
    elif name == "operation":
        log.seal([changed(record, model="another-model") for record in RECORDS[12:14]])
        server.settle()
        server.clock.now += 7201
        log.seal(RECORDS[14:16])
    server.settle()
    return server


STATES = {
    "empty": ("inconclusive", "nothing was audited;"),
    "too-little": ("inconclusive", "more audited tokens"),
    "clear": ("clear", "the audit is conclusive"),
    "evidence": ("alarm", "Evidence against the inference server."),
    "log": ("alarm", "An archive without a valid seal."),
    "operation": ("alarm", "An archive of another model."),
}


@pytest.fixture(scope="module", params=STATES)
def named(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    replayer: TransformersReplayer,
    bundled_policy: Policy,
) -> tuple[str, Server]:
    name = request.param
    return name, of_state(name, tmp_path_factory.mktemp(name), replayer, bundled_policy)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_each_state_fits_the_screen_and_says_what_it_is(
    browser: Browser, named: tuple[str, Server], scheme: str, width: int
) -> None:
    name, server = named
    word, meaning = STATES[name]
    with served(server) as url, visiting(browser, url, scheme, width) as visit:
        page = visit.page
        state(page, word)
        shows(page, "#state-meaning", meaning)
        expect(page.locator("#rates svg")).to_have_count(8, timeout=PATIENCE)
        expect(page.locator("#ledger .problem")).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        clipped = page.evaluate(
            "[...document.querySelectorAll('.tile dd, .tile dt, .state p, .incident p')]"
            ".filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent)"
        )
        assert clipped == []
        kept = os.environ.get("WEIGHTWARDEN_SCREENSHOTS")
        if kept:
            page.screenshot(path=f"{kept}/{name}-{scheme}-{width}.png", full_page=True)
            if (scheme, width) == ("light", 1280):
                page.pdf(path=f"{kept}/{name}.pdf", format="A4", print_background=True)


def test_alarms_differ_by_shape_and_words_not_by_colour_alone(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    shapes, titles = set(), set()
    for name in ("evidence", "log", "operation"):
        server = of_state(name, tmp_path_factory.mktemp(name), replayer, bundled_policy)
        with served(server) as url, visiting(browser, url) as visit:
            state(visit.page, "alarm")
            shapes.add(visit.page.locator("#state .symbol .ground").get_attribute("d"))
            titles.add(visit.page.locator("#incidents .title").first.text_content())
            assert visit.page.locator("#state").get_attribute("class") == f"state alarm {name}"
    assert len(shapes) == len(titles) == 3


def test_an_incident_leads_to_its_records_its_step_of_the_runbook_and_its_acknowledgement(
    browser: Browser, poisoned: Server
) -> None:
    with served(poisoned) as url, visiting(browser, url) as visit:
        page = visit.page
        state(page, "alarm")
        page.get_by_label("Show", exact=False).last.select_option("")
        monitor = page.locator("#incidents .incident", has_text="Evidence against the inference server")
        monitor.get_by_role("link", name="Show the records").click()
        expect(page.locator("#records select")).to_have_value("flagged")
        expect(page.locator("#records tbody tr")).to_have_count(6, timeout=PATIENCE)
        expect(page.locator("#records-title")).to_be_in_viewport()
        number = (monitor.get_attribute("id") or "").removeprefix("incident-")
        page.goto(f"{url}/#incident-{number}")
        page.reload()
        expect(page.locator(f"#incident-{number}")).to_be_focused(timeout=PATIENCE)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=f"Acknowledge monitor, incident {number}")).to_be_focused()
        page.locator("#incidents .incident", has_text="without a valid seal").first.get_by_role(
            "link", name="What to do"
        ).click()
        expect(page).to_have_url(f"{url}/runbook#seal")
        expect(page.locator("#seal")).to_contain_text("verify log check")
        page.goto(f"{url}/#records?unverifiable=true")
        expect(page.locator("#records select")).to_have_value("unverifiable", timeout=PATIENCE)
        shows(page, "#records", "No such record.")
