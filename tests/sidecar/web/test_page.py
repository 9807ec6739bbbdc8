"""The page in a real browser: live updates, accessibility, and hostile texts."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import reserved_port
from sidecar_parts import Process, process

from waiter.testing import Phase, Script, SimulatedCloud, fails, finishes, never_ends

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-device-scale-factor=1"
)
WIDE, NARROW = 1100, 390
HOSTILE = "<img src=x onerror='window.ran=1'><script>window.ran=1</script>"
# https://www.w3.org/TR/webdriver2/#keyboard-actions
TAB, ENTER = "\ue004", "\ue007"
RIGHT_TO_LEFT = "\u202egnp.exe"


class Browser:
    """Chromium with the page of one sidecar."""

    def __init__(self, profile: Path) -> None:
        # Imported here, so that the other tests do not need selenium.
        webdriver: Any = import_module("selenium.webdriver")
        program, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert program, "these tests need Chromium: apt-get install chromium chromium-driver"
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))

    def open(self, url: str, *, width: int = WIDE, height: int = 1000, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.command("Emulation.setEmulatedMedia", features=[scheme, still])
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.driver.get(url)
        self.run("window.loaded_once = true")

    def command(self, name: str, **arguments: Any) -> None:
        self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector: str) -> list[str]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector))

    def until(self, selector: str, expected: Callable[[list[str]], bool] | list[str], seconds: float = 10) -> list[str]:
        """Wait until the texts are as expected."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.texts(selector)
            if found == expected or (callable(expected) and expected(found)):
                return found
            assert time.monotonic() < deadline, f"{selector}: {found}"
            time.sleep(0.05)

    def console_messages(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.driver.get("about:blank")
    chromium.console_messages()
    return chromium


@pytest.fixture
def sidecar(served: SimulatedCloud, tmp_path: Path) -> Iterator[Process]:  # noqa: ARG001 - its address is in the environment
    with process(tmp_path / "state", eager=False) as running:
        yield running


def post(sidecar: Process, *task_ids: str) -> None:
    assert httpx.post(f"{sidecar.control}/v1/waits", json=list(task_ids), timeout=30).status_code == 202


def test_waits_are_updated_without_a_reload(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """A card shows all of a wait; problems are listed first."""
    browser.open(sidecar.control)
    browser.until("#connection", ["live"])
    assert browser.texts("#empty") == ["No waits yet: POST task IDs to /v1/waits."]
    phases = (Phase("NEW", 3), Phase("RUNNING", 3, "NETWORK"), Phase("FINISHED"))
    good = served.add(Script(phases=phases, created_resources={"instances": ["i-1"]}))
    bad = served.add(fails(2, "no host"))
    post(sidecar, good, bad)
    browser.until(".card .state", lambda found: "NEW" in found)
    browser.until(".card .state", lambda found: "RUNNING / NETWORK" in found)
    assert browser.until(".card .status", ["✕ Failed", "✓ Finished"])
    assert browser.texts(".card .id code") == [bad, good]
    assert browser.texts(".card .error") == [f"create_vm failed: no host ({bad})", ""]
    assert browser.texts(".card:nth-child(2) .line bdi") == ["NEW", "RUNNING / NETWORK", "FINISHED"]
    assert browser.texts(".card .made dt, .card .made code") == ["instances", "i-1"]
    assert browser.texts(".card .age") == ["took 2s", "took 6s"]
    assert browser.texts("#filter button") == ["All 2", "Problems 1", "Waiting 0", "Finished 1"]
    httpx.delete(f"{sidecar.control}/v1/waits/{bad}")
    browser.until(".card .id code", [good])
    assert (browser.run("return window.loaded_once"), browser.console_messages()) == (True, [])


def test_age_and_time_left_are_updated(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """No request to the sidecar is needed."""
    served.add_past("create_vm", [100.0] * 30)
    post(sidecar, served.add(never_ends(age=20)))
    browser.open(sidecar.control)
    (first,) = browser.until(".card .times", lambda found: bool(found) and "left" in found[0])
    assert first.startswith(("for 20s · about 1m", "for 21s · about 1m", "for 22s · about 1m"))
    browser.until(".card .times", lambda found: found != [first])


def test_hostile_texts_are_shown_as_text(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """Markup is text, bidirectional marks are shown as escapes, and nothing is wider than the page."""
    made: Any = {HOSTILE: [HOSTILE, RIGHT_TO_LEFT, "x" * 5000]}
    phases = (Phase("RUNNING", 0.5, HOSTILE), Phase("ERROR"))
    error = f"{HOSTILE} {RIGHT_TO_LEFT} {'long ' * 5000}{'x' * 5000}"
    script = Script(phases=phases, task_type=HOSTILE + RIGHT_TO_LEFT, error=error, created_resources=made)
    browser.open(sidecar.control, width=NARROW)
    post(sidecar, served.add(script))
    browser.until(".card .status", ["✕ Failed"])
    assert browser.texts(".card .type") == [HOSTILE + "\\u202egnp.exe"]
    assert browser.texts(".card .made dt") == [HOSTILE]
    assert browser.texts(".card .made code")[:2] == [HOSTILE, "\\u202egnp.exe"]
    assert browser.run("return [window.ran, document.querySelectorAll('#list img, #list script').length]") == [None, 0]
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth") is True
    assert browser.console_messages() == []


def test_content_security_policy_blocks_markup_and_other_hosts(sidecar: Process, browser: Browser) -> None:
    """A defect of the page could neither run markup nor load from another host."""
    browser.open(sidecar.control)
    sink = "try { document.body.innerHTML = '<img src=x onerror=\"window.ran=1\">'; return 'set' } catch (e) { return e.name }"
    assert browser.run(sink) == "TypeError"
    fetched = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('https://example.org/').then(() => done('fetched'), () => done('refused'))"
    )
    assert (fetched, browser.run("return window.ran")) == ("refused", None)


def test_page_reconnects_after_a_restart(served: SimulatedCloud, tmp_path: Path, browser: Browser) -> None:
    """It reports the lost connection, and shows the current state after the restart."""
    task_id = served.add(finishes(3, {"instances": 1}))
    with reserved_port() as port:
        address = f"127.0.0.1:{port}"
        with process(tmp_path, "--listen", address) as first:
            post(first, task_id)
            browser.open(first.control)
            browser.until(".card .status", ["◌ Waiting"])
            first.process.kill()
            browser.until("#connection", lambda found: found[0].startswith("not connected"))
        with process(tmp_path, "--listen", address):
            browser.until("#connection", ["live"], 15)
            browser.until(".card .status", ["✓ Finished"])
    assert browser.run("return window.loaded_once") is True


def test_two_thousand_waits_are_paged_filtered_and_searched(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """Failed waits are listed first; a search finds what the task acts on and what it created too."""
    ids = [served.add(never_ends()) for _ in range(1997)]
    ids += [
        served.add(
            Script(phases=(Phase("FINISHED"),), fields={"data": {"name": "Web-1"}}, created_resources={"ports": ["p-77"]})
        )
    ]
    post(sidecar, *ids)
    browser.open(sidecar.control)
    browser.until("#filter button", ["All 1998", "Problems 0", "Waiting 1997", "Finished 1"], 30)
    assert (len(browser.texts(".card")), browser.texts("#place")) == (50, ["1 to 50 of 1998"])
    browser.run("document.getElementById('next').click()")
    assert browser.texts("#place") == ["51 to 100 of 1998"]
    bad = served.add(fails(0.0))
    post(sidecar, bad)
    browser.run("document.getElementById('previous').click()")
    browser.until(".card:first-child .id code", [bad])
    search = browser.driver.find_element("id", "search")
    for text, expected in ((ids[500][:13], ids[500]), ("web-1", ids[-1]), ("P-77", ids[-1])):
        search.send_keys(text)
        browser.until(".card .id code", [expected])
        assert browser.texts("#announcement") == ["1 of 1999 waits"]
        search.clear()
    search.send_keys("no such thing")
    browser.until("#empty:not([hidden])", ["No wait matches."])
    search.clear()
    search.send_keys(" ")
    browser.run("document.querySelector('#filter [value=bad]').click()")
    browser.until(".card .id code", [bad])
    assert browser.run("return document.querySelector('#filter [value=bad]').ariaPressed") == "true"


def test_waits_are_sorted(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """By state, acceptance, time left, type or what they act on; waits without the value are last."""
    served.add_past("create_vm", [100.0] * 30)
    new = served.add(never_ends(age=20, task_type="create_vm", fields={"data": {"name": "web"}}))
    old = served.add(never_ends(age=70, task_type="create_vm", fields={"data": {"name": "db"}}))
    other = served.add(never_ends(task_type="a_type"))
    bad = served.add(fails(0.0, task_type="z_type"))
    for task_id in (new, old, other, bad):
        post(sidecar, task_id)
    browser.open(sidecar.control)
    browser.until(".card .times", lambda found: sum("left" in one for one in found) == 2)
    browser.until(".card .status", ["✕ Failed", *["◌ Waiting"] * 3])
    choose = "const one = document.getElementById('sort'); one.value = arguments[0]; one.dispatchEvent(new Event('change'))"
    orders = {
        "problems": [bad, new, old, other],
        "newest": [bad, other, old, new],
        "oldest": [new, old, other, bad],
        "left": [old, new, other, bad],
        "type": [other, new, old, bad],
        "target": [old, new, other, bad],
    }
    for sort, expected in orders.items():
        browser.run(choose, sort)
        assert (sort, browser.texts(".card .id code")) == (sort, expected)
    assert browser.texts(".card .target") == ["db", "web", "", ""]


def test_view_and_wait_can_be_linked(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """The URL has the filter, the order and the search; a link to a wait shows its page and focuses it."""
    ids = [served.add(never_ends()) for _ in range(120)]
    post(sidecar, *ids)
    browser.open(f"{sidecar.control}/#filter=waiting&sort=oldest&search={ids[7]}&unknown=1&__proto__=x")
    browser.until(".card .id code", [ids[7]])
    assert browser.run("return [document.getElementById('sort').value, document.getElementById('search').value]") == [
        "oldest",
        ids[7],
    ]
    browser.run("document.querySelector('#filter [value=all]').click()")
    assert browser.driver.current_url == f"{sidecar.control}/#sort=oldest&search={ids[7]}"
    link = browser.run("return document.querySelector('.card .id a').href")
    assert link == f"{sidecar.control}/#wait={ids[7]}"
    browser.open(f"{sidecar.control}/#wait={ids[110]}&filter=bad")
    browser.until(".card.linked .id code", [ids[110]])
    assert browser.run("return document.activeElement.textContent") == ids[110]
    assert browser.texts("#place") == ["101 to 120 of 120"]
    browser.run("location.hash = arguments[0]", f"#wait={ids[3]}")
    browser.until(".card.linked .id code", [ids[3]])
    browser.run("document.querySelector('.skip').click()")
    assert browser.texts(".card.linked .id code") == [ids[3]]
    browser.run("location.hash = '#wait=<b>gone</b>'")
    browser.until("#missing:not([hidden])", ["There is no wait <b>gone</b>: it was deleted, or was never requested here."])
    assert browser.console_messages() == []


def test_screen_reader_is_not_flooded(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """However often waits change, their numbers are announced once in ten seconds."""
    browser.open(sidecar.control)
    browser.until("#connection", ["live"])
    count = """
        window.changes = 0;
        const what = { childList: true, characterData: true, subtree: true };
        for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]"))
            new MutationObserver(() => { window.changes += 1; }).observe(region, what);
    """
    browser.run(count)
    for _ in range(10):
        post(sidecar, served.add(finishes(0.2)))
        time.sleep(0.3)
    browser.until("#filter button", ["All 10", "Problems 0", "Waiting 0", "Finished 10"])
    assert browser.run("return window.changes") <= 1


def test_many_created_resources_are_shown_in_part(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """The number of the others is shown."""
    post(sidecar, served.add(finishes(0.0, {"ports": 3000, "volumes": 20})))
    browser.open(sidecar.control)
    browser.until(".card .made .more", ["and 2980 more"])
    assert len(browser.texts(".card .made code")) == 40


def test_page_asks_for_the_token(served: SimulatedCloud, tmp_path: Path, browser: Browser) -> None:
    """A wrong token is refused; the right one is stored for this tab only."""
    (tmp_path / "token").write_text("0123456789abcdef")
    with process(tmp_path / "state", "--token-file", str(tmp_path / "token")) as sidecar:
        browser.open(sidecar.control)
        for token, problem in (("wrong", "The token is wrong."), ("0123456789abcdef", "")):
            browser.until("#login:not([hidden]) label", ["This sidecar requires a token"])
            browser.driver.find_element("id", "token").send_keys(f"{token}\n")
            browser.until("#login-problem", [problem])
        browser.until("#connection", ["live"])
        authorized = {"Authorization": "Bearer 0123456789abcdef"}
        httpx.post(f"{sidecar.control}/v1/waits", json=served.add(finishes(0.0)), headers=authorized)
        browser.until(".card .status", ["✓ Finished"])


def test_everything_is_reachable_by_keyboard(served: SimulatedCloud, sidecar: Process, browser: Browser) -> None:
    """The order is that of the text; copying is confirmed, and focus stays on a card that moves."""
    first = served.add(never_ends())
    post(sidecar, first)
    browser.open(sidecar.control)
    browser.until(".card .status", ["◌ Waiting"])
    reached = []
    for _ in range(9):
        browser.driver.switch_to.active_element.send_keys(TAB)
        reached.append(browser.run("return document.activeElement.ariaLabel || document.activeElement.textContent || 'search'"))
    filters = ["All 1", "Problems 0", "Waiting 1", "Finished 0"]
    sorts = "Problems firstNewest firstOldest firstLeast time leftTypeWhat it acts on"
    assert [one.strip() for one in reached] == ["Skip to the waits", *filters, sorts, "search", first, "Copy task ID"]
    browser.driver.switch_to.active_element.send_keys(ENTER)
    browser.until(".id .copy", lambda found: found[0] in {"Copied", "Selected"})
    post(sidecar, served.add(fails(0.0)))
    browser.until(".card .status", ["✕ Failed", "◌ Waiting"])
    focused = "return document.activeElement.closest('.card').querySelector('.id code').textContent"
    assert browser.run(focused) == first


def acting_on(name: str) -> dict[str, Any]:
    return {"data": {"name": name}}


def post_examples(served: SimulatedCloud, sidecar: Process) -> None:
    served.add_past("create_k8s_cluster_v2", [500.0 + 20 * number for number in range(20)], every=60)
    served.add_past("create_vm", [14.0 + number for number in range(20)], every=60)
    build = (Phase("NEW", 0.6), Phase("RUNNING", 1.5, "NETWORK"), Phase("RUNNING", 2, "VOLUME"))
    made: Any = {"instances": 1, "volumes": 2, "floatingips": 1}
    scripts = [
        Script(phases=(*build, Phase("FINISHED")), created_resources=made, fields=acting_on("web-1")),
        Script(
            phases=(*build[:2], Phase("ERROR")),
            error="No valid host was found. " * 14,
            created_resources={"volumes": 1},
            fields=acting_on("web-2"),
        ),
        never_ends(task_type="create_k8s_cluster_v2", age=240, fields=acting_on("production")),
        Script(phases=(*build, Phase("RUNNING", detailed_state="INSTANCE")), fields=acting_on("web-3")),
        finishes(1.2, task_type="delete_loadbalancer", fields=acting_on("old-balancer")),
    ]
    post(sidecar, *map(served.add, scripts))


def test_axe_finds_no_problem(served: SimulatedCloud, sidecar: Process, browser: Browser, tmp_path: Path) -> None:
    """The page is checked wide and narrow, light and dark, and screenshots can be kept."""
    axe = Path(os.environ.get("SIDECAR_TEST_AXE", "node_modules/axe-core/axe.min.js"))
    shots = Path(os.environ.get("SIDECAR_TEST_SCREENSHOTS", tmp_path))
    post_examples(served, sidecar)
    browser.open(sidecar.control)
    browser.until(".card .status", ["✕ Failed", "◌ Waiting", "◌ Waiting", "✓ Finished", "✓ Finished"], 15)
    browser.until(".card .times", lambda found: sum("left" in one for one in found) == 2, 15)
    for width in (WIDE, NARROW):
        for dark in (False, True):
            browser.open(sidecar.control, width=width, height=1020, dark=dark)
            browser.until(".card .times", lambda found: sum("left" in one for one in found) == 2)
            browser.run(axe.read_text())
            found = browser.driver.execute_async_script("axe.run().then(arguments[0], (e) => arguments[0](String(e)))")
            assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
            name = f"{'wide' if width == WIDE else 'narrow'}-{'dark' if dark else 'light'}.png"
            browser.driver.save_screenshot(str(shots / name))
