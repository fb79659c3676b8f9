"""The page of a deployment in Chromium over 10,000 and 100,000 tasks, as an operator sees it."""

import gzip
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

from benchmarks import callbacks, crowd, load, processes
from benchmarks.ground import running
from benchmarks.table import Row, milliseconds, show
from deployments.models import Deployment
from tests.deployments import scene
from tests.mdm.instance import Instance

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright runs an event loop in this thread

LOADS = 7
CLICKS = 5
HIDDEN_SEC = 60
PATIENCE = 60_000

# Before anything of the page runs: when the first row was drawn, in milliseconds since the request.
FIRST_ROW = """(() => {
  const look = () => {
    if (!document.querySelector("#nx-table tbody tr[id] td")) return requestAnimationFrame(look);
    return requestAnimationFrame(() => (window.shown = performance.now()));
  };
  look();
})()"""
SCROLL = """async () => {
  const box = document.getElementById("nx-window");
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  for (let step = 0; step < 180; step += 1) {
    box.scrollTop += 90;
    const now = await new Promise(requestAnimationFrame);
    frames.push((now - last) / 1000);
    last = now;
  }
  return frames;
}"""
ELEMENTS = """async (share) => {
  const box = document.getElementById("nx-window");
  box.scrollTop = share * (box.scrollHeight - box.clientHeight);
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
  while (document.querySelector(".nx-awaited")) await new Promise(requestAnimationFrame);
  return document.querySelectorAll("*").length;
}"""
PAUSED = """async () => {
  const badge = () => document.querySelector("#nx-live .nx-badge").textContent;
  const before = badge();
  const begun = performance.now();
  document.getElementById("nx-pause").click();
  while (badge() === before) await new Promise(requestAnimationFrame);
  return (performance.now() - begun) / 1000;
}"""
HIDE = """Object.defineProperty(document, "hidden", {configurable: true, get: () => true});
document.dispatchEvent(new Event("visibilitychange"))"""


class Eyes:
    """A signed-in operator's browser before an instance."""

    def __init__(self, browser: Browser, instance: Instance, deployment: Deployment) -> None:
        self.browser, self.instance = browser, instance
        self.address = f"/admin/deployments/deployment/{deployment.pk}/"
        self.session = crowd.session()

    @contextmanager
    def context(self) -> Iterator[BrowserContext]:
        home = f"http://127.0.0.1:{self.instance.port}"
        context = self.browser.new_context(base_url=home, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE)
        context.add_cookies([{"name": "sessionid", "value": self.session, "url": home}])
        yield context
        context.close()

    def open(self, context: BrowserContext, *, slower: int = 1) -> tuple[Page, CDPSession]:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.add_init_script(FIRST_ROW)
        page.goto(f"{self.address}details/")
        page.locator("#nx-window.nx-windowed").wait_for()
        return page, session


def first_rows(eyes: Eyes, slower: int) -> list[float]:
    """Each in a context of its own, so that nothing is cached."""
    took = []
    for _ in range(LOADS):
        with eyes.context() as context:
            page, _ = eyes.open(context, slower=slower)
            took.append(page.evaluate("window.shown") / 1000)
    return took


def first_load(eyes: Eyes) -> int:
    """Bytes on the wire of everything that the page loads."""
    sizes: list[float] = []
    with eyes.context() as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        page.goto(f"{eyes.address}details/")
        page.locator("#nx-window.nx-windowed").wait_for()
    return round(sum(sizes))


def live(eyes: Eyes, count: int = 200) -> tuple[list[float], int]:
    """Seconds of the moving part over HTTP, and its compressed size."""
    took, size = [], 0
    line = http.client.HTTPConnection("127.0.0.1", eyes.instance.port, timeout=30)
    with closing(line):
        for _ in range(count):
            begun = time.perf_counter()
            line.request(
                "GET",
                f"{eyes.address}live/",
                headers={"Cookie": f"sessionid={eyes.session}", "Accept-Encoding": "gzip"},
            )
            answer = line.getresponse()
            body = answer.read()
            took.append(time.perf_counter() - begun)
            assert answer.status == 200, answer.status
            assert gzip.decompress(body)
            size = max(size, len(body))
    return took[10:], size


def queries(eyes: Eyes) -> int:
    """Of the moving part while somebody looks; where a transaction begins and ends is no query."""
    client = Client(headers={"host": f"127.0.0.1:{eyes.instance.port}"})
    client.cookies["sessionid"] = eyes.session
    client.get(f"{eyes.address}live/")
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(f"{eyes.address}live/")
    assert answer.status_code == 200, answer.status_code
    marks = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return sum(not query["sql"].startswith(marks) for query in captured.captured_queries)


def seen(page: Page, act: Callable[[], object], status: str, count: int) -> float:
    """Seconds from an act outside until the counter of that status shows so many."""
    begun = time.perf_counter()
    act()
    counter = page.locator(f"#nx-live a.nx-count[href*='status={status}']")
    page.wait_for_function(
        "([node, count]) => document.querySelector(node).textContent.trim() === count",
        arg=[f"#nx-live a.nx-count[href*='status={status}']", f"{count:,}"],
        polling="raf",
    )
    assert counter.is_visible()
    return time.perf_counter() - begun


def csv(eyes: Eyes) -> tuple[float, float, int]:
    """Seconds to the first byte, growth of the web processes in MB, and lines."""
    before = processes.memory(eyes.instance)["web"]
    line = http.client.HTTPConnection("127.0.0.1", eyes.instance.port, timeout=120)
    with closing(line):
        begun = time.perf_counter()
        line.request("GET", f"{eyes.address}export.csv", headers={"Cookie": f"sessionid={eyes.session}"})
        answer = line.getresponse()
        lines = answer.read(1).count(b"\n")
        first = time.perf_counter() - begun
        most = before
        while part := answer.read(1 << 18):
            lines += part.count(b"\n")
            most = max(most, processes.memory(eyes.instance)["web"])
    return first, most - before, lines


def hidden(page: Page) -> int:
    asked: list[str] = []
    page.evaluate(HIDE)
    page.wait_for_timeout(3_000)  # what was under way may end
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(HIDDEN_SEC * 1000)
    return len(asked)


def tell(port: int, said: load.Request) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(line):
        headers = {"Authorization": f"Bearer {said.token}", "Content-Type": "application/json"}
        line.request(said.method, said.path, body=json.dumps(said.body), headers=headers)
        assert line.getresponse().status == 200


def reports(eyes: Eyes, page: Page, deployment: Deployment, ids: list[int]) -> list[float]:
    took = []
    for number, device in enumerate(ids, start=1):
        body = {
            "status": "succeeded",
            "installed_version": {"version_code": deployment.to_version.version_code},
        }
        said = callbacks.request(deployment, device, body)
        took.append(seen(page, lambda said=said: tell(eyes.instance.port, said), "succeeded", number))
    return took


def pauses(eyes: Eyes, page: Page) -> tuple[list[float], list[float]]:
    """Click to shown here, and click to shown in another tab."""
    here, there = [], []
    with eyes.context() as context:
        other, _ = eyes.open(context)
        for _ in range(CLICKS):
            begun = time.perf_counter()
            here.append(page.evaluate(PAUSED))
            other.locator("#nx-live .nx-badge-paused").wait_for()
            there.append(time.perf_counter() - begun)
            page.locator("#nx-resume").click()
            page.get_by_role("button", name="Resume for").click()
            page.locator("#nx-live .nx-badge-running").wait_for()
            other.locator("#nx-live .nx-badge-running").wait_for()
    return here, there


def measured(eyes: Eyes, deployment: Deployment, ids: list[int], size: str) -> list[Row]:
    rows = [
        Row(f"first rows visible, {size}", milliseconds(first_rows(eyes, 1)), "≤ 500 ms"),
        Row(f"… CPU 4 times slower, {size}", milliseconds(first_rows(eyes, 4)), "≤ 1,000 ms"),
        Row(f"first load, {size}", f"{first_load(eyes) / 1000:.0f} kB", "≤ 120 kB"),
    ]
    took, length = live(eyes)
    rows.append(Row(f"moving part, warm, {size}", milliseconds(took), "p95 ≤ 30 ms"))
    rows.append(Row(f"… {size}", f"{length:,} B gz, {queries(eyes)} queries", "≤ 2,000 B, ≤ 6"))
    with eyes.context() as context:
        page, _ = eyes.open(context)
        most = max(page.evaluate(ELEMENTS, share / 10) for share in range(11))
        rows.append(Row(f"DOM elements at any scroll position, {size}", f"{most}", "≤ 800"))
        page.evaluate("document.getElementById('nx-window').scrollTop = 0")
        frames = page.evaluate(SCROLL)
        rows.append(Row(f"scroll frame, {size}", milliseconds(frames), "p95 ≤ 25 ms"))
        here, there = pauses(eyes, page)
        rows.append(Row(f"Pause pressed → shown, {size}", milliseconds(here), "≤ 300 ms"))
        rows.append(Row(f"… in another tab, {size}", milliseconds(there), "≤ 3 s"))
        told = milliseconds(reports(eyes, page, deployment, ids[:CLICKS]))
        rows.append(Row(f"report → counter, {size}", told, "≤ 3 s"))
        rows.append(Row(f"requests of a hidden tab in 60 s, {size}", f"{hidden(page)}", "0"))
    first, grown, lines = csv(eyes)
    rows.append(
        Row(
            f"CSV of {lines - 1:,} rows",
            f"first byte {first * 1000:.0f} ms, memory +{grown:.0f} MB",
            "≤ 500 ms, ≤ 20 MB",
        )
    )
    return rows


def main() -> None:
    sizes = [int(size) for size in os.environ.get("SIZES", "10000,100000").split(",")]
    with running("web", "ticker") as instance, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for number, size in enumerate(sizes):
            ids = crowd.fleet(size)
            deployment = crowd.started(
                scene.version(200 + number), ids, canary=0, rate=1000, concurrency=1000
            )
            crowd.send(deployment, 300)
            crowd.settle_down()
            eyes = Eyes(browser, instance, deployment)
            show(
                f"The page of a deployment, {size:,} tasks",
                measured(eyes, deployment, ids, f"{size:,} tasks"),
            )
            crowd.end(deployment)
        browser.close()
