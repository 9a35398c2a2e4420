"""The page in a browser without a window: Debian's Chromium, driven by selenium."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 60.0  # seconds; a busy machine is slow
DESKTOP, PHONE = (1100, 900), (375, 812)
# Names and addresses that the server's process connects to go into a file.
_AUDIT = """
import os, sys
def audit(event, arguments, file=os.environ["NSM_AUDIT"]):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open(file, "a") as out:
            out.write(f"{event} {arguments[1] if event != 'socket.getaddrinfo' else arguments[0]}\\n")
sys.addaudithook(audit)
"""


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """``nsm demo`` in a folder; yields the page's address. What it connects to is in ``folder/audit``."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_AUDIT)
    (folder / "audit").touch()
    environment = os.environ | {
        "NSM_AUDIT": str(folder / "audit"),
        "PYTHONPATH": str(site),
        "PYTHONFAULTHANDLER": "1",
    }
    command = [sys.executable, "-c", "from nsm.cli import main; main()", "demo", "--port", "0", "--quiet"]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, f"no address in {line!r}: {(folder / 'errors').read_text()}"
            yield found[0]
            ended = process.poll()
            assert ended is None, f"the server ended with {ended}: {(folder / 'errors').read_text()}"
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)
            process.stdout.close()


class Browser:
    """A browser with the page open."""

    def __init__(self, chromium: str, driver: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            # No name is looked up, and what asks for one is in the log.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self._requests: list[str] = []

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def open(self, url: str, size: tuple[int, int] = DESKTOP, *, density: float = 1.0) -> None:
        """Open the page and wait for its first answer."""
        self.resize(size, density=density)
        self.driver.get(url)
        self.until(lambda: "settled" in self.text("#nsm-answer"), "the first answer")
        self.until(lambda: self.text("#nsm-turned"), "the first chart")

    def resize(self, size: tuple[int, int], *, density: float = 1.0) -> None:
        """Give the page a width and a height in pixels."""
        metrics = {
            "width": size[0],
            "height": size[1],
            "deviceScaleFactor": density,
            "mobile": size[0] < 500,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector names."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What an element says; nothing where there is none."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"
        return str(self.driver.execute_script(script, selector)).strip()

    def texts(self, selector: str) -> list[str]:
        """What each of some elements says."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())"
        return list(self.driver.execute_script(script, selector))

    def until(self, condition, what: str) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except (StaleElementReferenceException, WebDriverException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {what}; the page says: {self.text('body')[:2000]}")

    def settled(self) -> None:
        """Wait until no question is being answered."""

        def still() -> bool:
            busy = self.driver.execute_script(
                "return document.querySelector('#nsm-answer [aria-busy=true]') !== null"
            )
            before = self.text("#nsm-answer")
            time.sleep(0.3)
            return not busy and before == self.text("#nsm-answer")

        self.until(still, "an answer")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        return base64.b64decode(taken["data"])

    def requests(self) -> list[str]:
        """Addresses of everything asked for so far."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                parameters = message["params"]
                self._requests.append(parameters.get("request", parameters)["url"])
        return self._requests
