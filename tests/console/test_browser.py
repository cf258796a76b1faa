"""An operator's walk through the console in a real browser, which also holds our pages to our policy."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.api.serving import Served, serving
from tests.console.conftest import fill
from tests.services.run import REQUIRE_CHROMIUM

PATIENCE_MS = 60_000


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        assert not os.environ.get(REQUIRE_CHROMIUM), f"{REQUIRE_CHROMIUM} is set, and there is no chromium"
        pytest.skip(f"no chromium is installed: {request.node.name}")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, timeout=PATIENCE_MS)
        yield opened
        opened.close()


@pytest.fixture
def api(database_url: str) -> Iterator[Served]:
    with serving(database_url) as served:
        fill(served)
        yield served


def fits(page: Page) -> bool:
    wider: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return not wider


@pytest.mark.parametrize("width", [1280, 380])
def test_an_operator_signs_in_looks_around_retries_a_dead_letter_and_explains_an_entry(
    browser: Browser, api: Served, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(api.url) else wrong.append(sent.url))

    page.goto(api.url)
    page.get_by_label("API token").fill(api.tokens["operator"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=PATIENCE_MS)
    assert fits(page)

    api.query("UPDATE partition_positions SET end_offset = end_offset + 1 WHERE topic = 'tournament-results'")
    expect(page.locator("#figures")).to_contain_text("235 events to read", timeout=PATIENCE_MS)

    page.get_by_role("link", name="102 dead letters wait").click()
    page.get_by_role("link", name="1", exact=True).first.click()
    expect(page.get_by_role("heading", name="Dead letter 1", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    assert fits(page)
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_contain_text("refused again", timeout=PATIENCE_MS)

    page.get_by_label("User id or entry key").fill("2")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", name="User 2")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("img", name="XP over time, now 650")).to_be_visible(timeout=PATIENCE_MS)
    assert fits(page)
    page.get_by_role("link", name="command_c-1_xp_2").click()
    expect(page.get_by_role("heading", name="Where it came from")).to_be_visible(timeout=PATIENCE_MS)
    assert fits(page)
    assert wrong == []
    page.close()
