"""Uses the pages of a service as a person does, in Chromium, and fails with what is wrong.

    pages.py URL FOLDER [PICTURES]

URL is where the service is. FOLDER holds its pipelines, as `browser.rs` has written them. With PICTURES, the
folder of the pictures in the documentation, these are made anew. Nothing here waits for time to pass.
"""

import pathlib
import re
import sqlite3
import sys
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Page, expect, sync_playwright

URL, FOLDER = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2])
PICTURES = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
NOTICE = ".notice:not([hidden])"
# How long anything may take, in milliseconds; far beyond what it takes.
LIMIT = 60_000
# So often Tab is pressed at most on the way to something.
MOST_TABS = 80
PATHS = [
    "/ui", "/ui/pipelines/orders", "/ui/pipelines/hostile", "/ui/pipelines/broken", "/ui/runs",
    "/ui/dead-letters", "/ui/dead-letters?pipeline=orders", "/ui/deliveries", "/ui/connections", "/ui/logs",
    "/ui/login", "/docs",
]
# Those that have every colour.
DARK = ["/ui", "/ui/pipelines/broken", "/ui/pipelines/orders"]

wrong: list[str] = []


def watched(page: Page) -> Page:
    """Whatever the browser complains of counts, what its policy has refused above all."""
    page.add_init_script(
        "addEventListener('securitypolicyviolation', event => console.error('refused: ' + event.violatedDirective))"
    )
    page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(f"{page.url}: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("dialog", lambda dialog: wrong.append(f"{page.url}: a script has run: {dialog.message}"))
    return page


@contextmanager
def held_database():
    """While it is held, the sink that writes to it waits: the run stays at work."""
    connection = sqlite3.connect(FOLDER / "orders.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def rows() -> list:
    with sqlite3.connect(FOLDER / "orders.db", timeout=LIMIT / 1000) as connection:
        return connection.execute("SELECT number, customer FROM orders ORDER BY 1").fetchall()


def tab_to(page: Page, name: str) -> None:
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"Tab does not lead to #{name}")


def outcome(page: Page, word: str) -> None:
    """The page of a run comes to say so by itself."""
    expect(page.locator("[data-part=status] .badge")).to_have_text(word)


def open_run(page: Page) -> None:
    """From the page of a pipeline to that of the run that is at work."""
    page.locator("[data-part=status] a.code").filter(visible=True).click()
    page.wait_for_url("**/ui/runs/*")


def triggered_by_keyboard(page: Page) -> None:
    page.goto(f"{URL}/ui")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first Tab leads past the navigation"
    expect(page.locator("h1")).to_have_text("Pipelines")
    page.get_by_role("link", name="orders", exact=True).click()
    expect(page.locator("h1")).to_have_text("orders")
    with held_database():
        tab_to(page, "param-day")
        page.keyboard.type("2026-03-01")
        tab_to(page, "trigger")
        page.keyboard.press("Enter")
        expect(page.locator(NOTICE)).to_contain_text("a run of orders was asked for")
        expect(page.locator("[data-part=status]")).to_contain_text("running")
        open_run(page)
        outcome(page, "running")
        # One sink has everything while the other one waits.
        line = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="file", exact=True))
        expect(line).to_contain_text("adds up")
        expect(page.locator("[data-part=splits]")).to_contain_text("delivered")
        expect(page.get_by_role("button", name="Cancel this run")).to_be_visible()
        picture(page, "run.png", dark=True)
    outcome(page, "succeeded")
    expect(page.get_by_role("button", name="Cancel this run")).to_have_count(0)
    figures = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="sqlite", exact=True)).locator("td")
    # Read, filtered, dead letters, written, refused.
    assert figures.all_inner_texts()[:5] == ["4", "0", "1", "3", "0"], figures.all_inner_texts()
    expect(page.get_by_role("cell", name=re.compile("2026-03-01-1.csv"))).to_be_visible()
    assert len(rows()) == 3, rows()


def cancelled(page: Page) -> None:
    page.goto(f"{URL}/ui/pipelines/orders")
    with held_database():
        page.get_by_role("button", name="Run now").click()
        expect(page.locator("[data-part=status]")).to_contain_text("running")
        open_run(page)
        outcome(page, "running")
        page.get_by_role("button", name="Cancel this run").click()
        expect(page.locator(NOTICE)).to_contain_text("was asked to stop")
        outcome(page, "stopped")


def wrong_parameter(page: Page) -> None:
    page.goto(f"{URL}/ui/pipelines/orders")
    page.get_by_label("day").fill("tomorrow")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(NOTICE)).to_contain_text("`tomorrow` is no date")
    assert page.get_by_label("day").input_value() == "tomorrow", "what was filled in stays"
    # The answer says 422, of which the browser tells.
    wrong[:] = [line for line in wrong if "422" not in line]


def paused(page: Page) -> None:
    page.goto(f"{URL}/ui/pipelines/orders")
    page.get_by_role("button", name="Pause the schedule").click()
    expect(page.locator(NOTICE)).to_contain_text("is paused")
    expect(page.locator("[data-part=status]")).to_contain_text("paused")
    page.get_by_role("button", name="Let the schedule go on").click()
    expect(page.locator(NOTICE)).to_contain_text("goes on")


def replayed(page: Page) -> None:
    page.goto(f"{URL}/ui")
    page.get_by_role("link", name=re.compile("waits?$")).click()
    expect(page.locator("h1")).to_have_text("Dead letters")
    expect(page.locator("tbody tr").first).to_contain_text("four")
    page.locator("tbody th a").first.click()
    expect(page.locator("h1")).to_have_text(re.compile("Dead letter \\d+"))
    letter = page.url
    # The cause is mended, and the service notices.
    file = FOLDER / "orders.yaml"
    mended = file.read_text().replace("[0-9]+", "[0-9a-z]+").replace("Orders of a day", "Orders of a day, mended")
    file.write_text(mended)
    page.goto(f"{URL}/ui/pipelines/orders")
    expect(page.locator(".lead")).to_contain_text("mended")
    page.goto(letter)
    page.get_by_role("button", name="Replay").click()
    expect(page.locator(NOTICE)).to_contain_text("1 dead letter of orders is tried again")
    outcome(page, "replayed")
    assert ("four", "dora") in rows(), rows()


def without_scripts(browser) -> None:
    page = watched(browser.new_context(viewport=DESKTOP, java_script_enabled=False).new_page())
    page.goto(f"{URL}/ui/pipelines/orders")
    with held_database():
        page.get_by_role("button", name="Run now").click()
        expect(page.locator(NOTICE)).to_contain_text("a run of orders was asked for")
        page.goto(f"{URL}/ui/runs?pipeline=orders")
        at_work = page.get_by_role("row").filter(has_text="running").get_by_role("link").first
        while at_work.count() == 0:
            page.reload()
        at_work.click()
        outcome(page, "running")
    # The browser loads the page anew by itself.
    outcome(page, "succeeded")
    page.goto(f"{URL}/ui/connections")
    page.get_by_role("button", name="Check database").click()
    expect(page.locator(NOTICE)).to_be_visible()
    page.context.close()


def read_by_everybody(browser) -> None:
    """Nothing is wider than a phone, and nothing hard to read in light or dark."""
    grounds = set()
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport=PHONE, color_scheme=scheme, reduced_motion="reduce")
        page = watched(context.new_page())
        page.goto(f"{URL}/ui/runs")
        run = page.locator("tbody th a").first.get_attribute("href")
        page.goto(f"{URL}/ui/dead-letters?status=replayed")
        letter = page.locator("tbody th a").first.get_attribute("href")
        for path in [*PATHS, run, letter]:
            page.goto(URL + path)
            expect(page.locator("h1")).to_have_count(1)
            for details in page.locator("details").all()[:3]:
                details.locator("summary").click()
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > PHONE["width"]:
                wrong.append(f"{path}: {width} px wide on a phone")
            # In the dark only the colours are others, and they are the same ones everywhere.
            if scheme == "dark" and path not in (*DARK, run, letter):
                continue
            options = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
            report = Axe().run(page, options=options).response
            assert report["passes"], f"{path}: nothing was looked at"
            found = report["violations"]
            for violation in found:
                if violation["impact"] in ("serious", "critical"):
                    where = violation["nodes"][0]["html"]
                    wrong.append(f"{path} ({scheme}): {violation['id']}: {violation['help']}: {where}")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    assert len(grounds) == 2, f"light and dark look the same: {grounds}"


def hostile(page: Page) -> None:
    """What a pipeline and its rows say is shown, and never done."""
    page.goto(f"{URL}/ui/pipelines/hostile")
    expect(page.locator(".lead")).to_contain_text("<script>alert(1)</script>")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("[data-part=tally]")).to_contain_text("1 has ended")
    page.goto(f"{URL}/ui/dead-letters?pipeline=hostile")
    expect(page.locator("tbody td.record")).to_contain_text("<img src=x onerror=alert(1)>")
    page.locator("tbody th a").click()
    expect(page.locator("h1")).to_have_text(re.compile("Dead letter \\d+"))
    page.goto(f"{URL}/ui/pipelines/broken")
    expect(page.locator("pre")).to_contain_text("error[")


def picture(page: Page, name: str, dark: bool = False) -> None:
    if PICTURES:
        # The folder of a service, not that of a test.
        page.evaluate(
            """([from, to]) => {
                const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
            }""",
            [str(FOLDER), "/srv/pipelines"],
        )
        page.emulate_media(color_scheme="dark" if dark else "light")
        page.screenshot(path=PICTURES / name)
        page.emulate_media(color_scheme=None)


def pictures(browser, page: Page) -> None:
    """What the documentation shows: a service that has worked for a while."""
    for name in ("hostile", "broken"):
        (FOLDER / f"{name}.yaml").unlink()
    orders = (FOLDER / "orders.yaml").read_text().replace("Orders of a day, mended", "Orders of a day")
    orders = orders.replace("30 6 1 1 *", "30 6 * * *")
    (FOLDER / "orders.yaml").write_text(orders)
    customers = orders.replace("orders", "customers").replace("out/", "out/customers-")
    customers = customers.replace("Orders of a day", "Customers that have changed")
    (FOLDER / "customers.yaml").write_text(customers.replace("30 6 * * *", "0 7 * * mon-fri"))
    page.goto(f"{URL}/ui")
    page.get_by_role("button", name="Look at the files now").click()
    for number in range(32):
        name = ("orders", "customers")[number % 2]
        lines = [f"{line},customer {line}" for line in range(200 + (number * 7919) % 900)]
        (FOLDER / f"{name}.csv").write_text("\n".join(["number,customer", *lines]) + "\n")
        page.goto(f"{URL}/ui/pipelines/{name}")
        before = page.locator("[data-part=tally]").inner_text()
        page.get_by_role("button", name="Run now").click()
        expect(page.locator("[data-part=tally]")).not_to_have_text(before)
    page.goto(f"{URL}/ui")
    picture(page, "overview.png")
    phone = browser.new_context(viewport=PHONE).new_page()
    phone.goto(f"{URL}/ui/pipelines/orders")
    picture(phone, "phone.png")
    phone.context.close()


def main() -> None:
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--headless=new"]
            )
        except Error as error:
            sys.exit(f"not run: Chromium cannot be started: {error}")
        expect.set_options(timeout=LIMIT)
        page = watched(browser.new_context(viewport=DESKTOP).new_page())
        page.set_default_timeout(LIMIT)
        for use in (triggered_by_keyboard, wrong_parameter, paused, cancelled, replayed, hostile):
            print(use.__name__, flush=True)
            use(page)
        for use in (without_scripts, read_by_everybody):
            print(use.__name__, flush=True)
            use(browser)
        if PICTURES:
            pictures(browser, page)
        browser.close()
    if wrong:
        sys.exit("\n".join(dict.fromkeys(wrong)))


main()
