"""Pictures of the page for the documentation: ``python -m tests.demo.screenshot [RUN] --angle 40``."""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from nsm.files import write_atomically
from tests.demo.browser import DESKTOP, PHONE, Browser, serving


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="run folder; none for the small networks")
    parser.add_argument("--angle", type=int, default=40, help="how far the digit is turned")
    parser.add_argument("--digit", default="3", help="which digit is played")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"), help="where pictures go")
    parser.add_argument("--phone", action="store_true", help="also at the width of a phone")
    given = parser.parse_args()
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        parser.error("chromium and chromedriver are needed")
    arguments = [] if given.run is None else [str(given.run.resolve())]
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), *arguments) as address:
        browser = Browser(*map(str, programs))
        try:
            browser.open(address, density=1.5)
            take(browser, given)
        finally:
            browser.close()


def take(browser: Browser, given: argparse.Namespace) -> None:
    """Both tabs, each as a whole."""
    slider = browser.find("#nsm-angle input[type=range]")
    slider.send_keys((Keys.ARROW_RIGHT if given.angle > 0 else Keys.ARROW_LEFT) * abs(given.angle // 5))
    browser.settled()
    browser.driver.execute_script("document.activeElement.blur()")
    save(browser, given, "demo")
    browser.driver.find_elements(By.CSS_SELECTOR, "[role=tab]")[1].click()
    browser.find(f"#nsm-recorded input[value='{given.digit}']").click()
    browser.until(lambda: re.search(r"\b(\d+) of \1 ms", browser.text("#nsm-course")), "the end")
    browser.driver.execute_script("document.activeElement.blur()")
    save(browser, given, "demo-events")


def save(browser: Browser, given: argparse.Namespace, name: str) -> None:
    """What the browser shows, as a PNG file."""
    write_atomically(given.folder / f"{name}.png", browser.screenshot())
    if given.phone:
        browser.resize(PHONE)
        write_atomically(given.folder / f"{name}-phone.png", browser.screenshot())
        browser.resize(DESKTOP, density=1.5)


if __name__ == "__main__":
    main()
