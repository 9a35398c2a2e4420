"""The page end to end: ``nsm demo`` as a user starts it, in a real browser."""

from __future__ import annotations

import re
import struct
import zlib
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed: it comes with the extra 'demo'")
pytest.importorskip("selenium", reason="selenium is not installed: it comes with the extra 'dev'")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from nsm import data
from nsm.data.events import write_nmnist
from nsm.demo.pictures import from_pad
from nsm.demo.recording import from_drawing, moments
from nsm.demo.sampling import answer, looks, percent
from nsm.demo.subject import load_subject
from nsm.demo.turning import turned
from nsm.inference.reasons import UNSETTLED
from tests.demo.browser import PHONE

SEVEN = [(-50, -100), (60, -100), (-10, 110)]


@pytest.fixture(scope="module")
def subject(address, folder):
    found = map(load_subject, (folder / "runs" / "demo").iterdir())
    return next(subject for subject in found if subject.set_name == "digits")


def draw(page, points):
    """Draw a line through points, in pixels from the pad's centre, by mouse."""
    pad = page.find("#nsm-pad canvas")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    actions = ActionChains(page.driver, duration=20)
    actions.move_to_element_with_offset(pad, *points[0]).click_and_hold()
    for point in points[1:]:
        actions.move_to_element_with_offset(pad, *point)
    actions.release().perform()


def drawn(page):
    """What is on the pad, as a data URL."""
    return page.driver.execute_script(
        "return document.querySelector('#nsm-pad canvas').toDataURL('image/png')"
    )


def clear(page):
    page.find("#nsm-clear").click()
    page.until(lambda: "Draw something" in page.text("#nsm-answer"), "an empty page")


def expected(subject, url, angle=0.0, *, most=200, seed=0):
    """What the library says of a drawing."""
    image = turned(from_pad(url, subject.set_name), torch.tensor([angle]))[0]
    return list(looks(subject.net, image, confidence=0.99, most=most, seed=seed))[-1]


def assert_shows(page, look):
    """The numbers on the page are those of a look."""
    page.settled()
    assert page.texts("#nsm-distribution .nsm-probability") == [
        percent(float(share)) if share else "0 %" for share in look.probabilities
    ]
    votes = [int(count.replace(",", "")) for count in page.texts("#nsm-distribution .nsm-votes-of")]
    assert votes == np.bincount(look.votes, minlength=10).tolist()
    assert page.text("#nsm-answer .nsm-samples") == str(len(look.votes))
    assert page.text("#nsm-answer .nsm-entropy") == f"{float(look.prediction.entropy[0]):.3f} nats"
    squares = page.driver.execute_script("return document.querySelectorAll('.nsm-ballots i').length")
    assert squares == len(look.votes)


def turn(page, degrees):
    """Set the slider with the keyboard."""
    slider = page.find("#nsm-angle input[type=range]")
    slider.send_keys((Keys.ARROW_RIGHT if degrees > 0 else Keys.ARROW_LEFT) * abs(degrees // 5))
    assert page.driver.execute_script("return arguments[0].value", slider) == str(degrees)


def test_a_digit_is_drawn_turned_and_its_numbers_are_the_librarys(page, subject):
    clear(page)
    draw(page, SEVEN)
    page.until(lambda: page.text("#nsm-answer .nsm-samples"), "an answer")
    look = expected(subject, drawn(page))
    assert_shows(page, look)
    said = answer(look, subject.classes, least=0.5)
    assert page.text("#nsm-answer .nsm-headline") == said.headline
    assert page.text("#nsm-answer .nsm-sentence") == said.sentence
    page.until(lambda: "50 samples at each angle" in page.text("#nsm-turned .nsm-words"), "the whole chart")
    before = page.text("#nsm-turned .nsm-words")

    turn(page, 45)
    page.until(lambda: page.text("#nsm-answer .nsm-samples"), "an answer")
    page.settled()
    assert_shows(page, expected(subject, drawn(page), 45.0))
    marker = page.driver.execute_script(
        "return document.documentElement.style.getPropertyValue('--nsm-angle')"
    )
    assert marker.strip() == "45"
    assert page.text("#nsm-turned .nsm-words") == before


def test_it_is_not_sure_where_samples_do_not_settle_the_class(page, subject):
    page.find("#nsm-settings button").click()
    page.until(lambda: page.find("#nsm-most input[type=number]").is_displayed(), "the settings")
    most = page.find("#nsm-most input[type=number]")
    most.send_keys(Keys.CONTROL, "a")
    most.send_keys("10", Keys.TAB)
    url = drawn(page)
    angle = next(a for a in range(5, 180, 5) if expected(subject, url, a, most=10).reason in UNSETTLED)
    turn(page, angle)
    page.until(lambda: page.text("#nsm-answer .nsm-headline") == "Not sure", "doubt")
    assert "do not settle it" in page.text("#nsm-answer .nsm-sentence")
    assert_shows(page, expected(subject, url, angle, most=10))


def test_numbers_may_be_typed(page, subject, folder):
    page.settled()
    page.find("#nsm-settings button").click()
    for name, typed in (("nsm-angle", "300"), ("nsm-least", "7"), ("nsm-most", "20"), ("nsm-seed", "11")):
        field = page.find(f"#{name} input[type=number]")
        page.until(field.is_displayed, "the settings")
        # Each on its way to the server before the next: nothing, and what is too small or too large.
        for keys in ((Keys.CONTROL, "a"), (Keys.BACKSPACE,), *typed):
            field.send_keys(*keys)
            page.settled()
        field.send_keys(Keys.TAB)
    look = expected(subject, drawn(page), 180.0, most=20, seed=11)
    assert_shows(page, look)
    assert page.text("#nsm-answer .nsm-headline") == answer(look, subject.classes, least=0.99).headline
    assert "Error" not in (folder / "errors").read_text()


def test_the_keyboard_is_enough(page, subject):
    pad = page.find("#nsm-pad canvas")
    pad.send_keys(Keys.DELETE)
    page.until(lambda: "Draw something" in page.text("#nsm-answer"), "an empty page")
    pad.send_keys(Keys.ARROW_UP * 10, " ", Keys.ARROW_DOWN * 20, " ")
    page.until(lambda: page.text("#nsm-answer .nsm-samples"), "an answer")
    page.driver.execute_script("document.activeElement.blur()")  # the pen is drawn only while in focus
    look = expected(subject, drawn(page))
    assert_shows(page, look)
    assert page.text("#nsm-answer .nsm-headline") == answer(look, subject.classes, least=0.5).headline


def choose(page, digit):
    """Take a handwritten digit."""
    page.driver.execute_script("document.querySelectorAll('#nsm-digit label')[arguments[0]].click()", digit)


def chosen(page):
    script = "return [...document.querySelectorAll('#nsm-digit input:checked')].map((e) => e.value)"
    return page.driver.execute_script(script)


def test_the_page_shows_what_was_chosen_last(page):
    first = drawn(page)
    page.settled()
    before = page.text("#nsm-answer")
    for digit in (5, 7, 1, 4):
        choose(page, digit)
    # While they are asked about: the end of an older answer says nothing any more.
    page.until(lambda: page.text("#nsm-answer") != before, "a question, or already its answer")
    clear(page)
    page.settled()
    assert "Draw something" in page.text("#nsm-answer")
    assert chosen(page) == []
    for digit in (5, 7, 1, 3):
        choose(page, digit)
    page.until(lambda: drawn(page) == first, "the last digit")
    page.settled()
    assert chosen(page) == ["3"]
    draw(page, SEVEN)
    page.until(lambda: chosen(page) == [], "no digit")
    choose(page, 3)
    page.until(lambda: drawn(page) == first, "the same digit again")


def png(width, height):
    """A picture that claims a size and holds nothing."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    body = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def upload(page, path, button="#nsm-upload"):
    script = """const at = document.querySelector(arguments[0]);
        return at.querySelector('input[type=file]') || at.parentElement.querySelector('input[type=file]')"""
    page.driver.execute_script(script, button).send_keys(str(path))


def test_a_picture_is_uploaded_and_wrong_files_are_refused(page, subject, tmp_path):
    path = tmp_path / "seven.png"
    images = data.load("digits").test
    seven = images.images[int((images.targets == 7).nonzero()[0]), 0].numpy()
    Image.fromarray(255 - np.kron(seven, np.ones((10, 10), np.uint8))).save(path)
    upload(page, path)
    page.until(lambda: page.text("#nsm-answer .nsm-headline") == "7", "a seven")
    assert_shows(page, expected(subject, drawn(page)))

    for name, content, words in (
        ("words.png", b"These are words.", "cannot be read"),
        ("bomb.png", png(30_000, 30_000), "cannot be read|is more than"),
        ("large.png", png(9000, 9000), "9000 x 9000 is more than"),
    ):
        (tmp_path / name).write_bytes(content)
        upload(page, tmp_path / name)
        page.until(lambda name=name: name in page.text("#nsm-message"), f"a word on {name}")
        assert re.search(words, page.text("#nsm-message"))
        assert str(tmp_path) not in page.text("body")
    page.settled()
    assert page.text("#nsm-answer .nsm-headline") == "7"

    (tmp_path / "words.txt").write_bytes(b"These are words.")
    upload(page, tmp_path / "words.txt")
    page.until(lambda: "Invalid file type" in page.text("body"), "a word on a text file")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(17 * 2**20)
    upload(page, tmp_path / "huge.png")
    page.until(lambda: "maximum allowed size" in page.text("body"), "a word on the size")
    page.settled()
    assert page.text("#nsm-answer .nsm-headline") == "7"


def open_events(page):
    page.find("#nsm-events-tab-button, [role=tab]:nth-of-type(2)").click()
    page.until(lambda: page.find("#nsm-recorded").is_displayed(), "the second tab")


def test_a_recording_is_played_and_predicted_over_time(page, recorded, tmp_path):
    events = from_drawing(from_pad(drawn(page), "mnist"), seed=0)
    open_events(page)
    page.find("#nsm-play-drawing").click()
    page.until(lambda: re.search(r"\b(\d+) of \1 ms", page.text("#nsm-course")), "the end of the recording")
    subject = load_subject(recorded)
    *_, last = moments(subject.net, events, confidence=0.99, most=100, seed=0)
    assert page.text("#nsm-course .nsm-samples") == str(len(last.look.votes))
    assert page.text("#nsm-course .nsm-entropy") == f"{float(last.look.prediction.entropy[0]):.3f} nats"

    write_nmnist(tmp_path / "short.bin", events[events["t"] < 50_000])
    upload(page, tmp_path / "short.bin", "#nsm-upload-recording")
    page.until(lambda: re.search(r"\b(4\d|50) of \1 ms", page.text("#nsm-course")), "the end of the file")
    (tmp_path / "broken.bin").write_bytes(b"\0" * 7)
    upload(page, tmp_path / "broken.bin", "#nsm-upload-recording")
    page.until(lambda: "broken.bin" in page.text("#nsm-recording-message"), "a word on the file")
    page.until(lambda: not page.text("#nsm-course"), "an end of the recording before")


def test_a_phone_needs_no_sideways_scrolling(page, address):
    page.open(address, PHONE)
    width, seen = page.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert seen == PHONE[0]
    assert width <= seen
    pad = page.find("#nsm-pad canvas").rect
    assert pad["x"] >= 0
    assert pad["x"] + pad["width"] <= seen


def test_every_control_has_a_name(page):
    page.find("#nsm-settings button").click()
    page.until(lambda: page.find("#nsm-most input[type=number]").is_displayed(), "the settings")
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored")
        and any(p["name"] == "focusable" and p["value"].get("value") for p in node.get("properties", ()))
        and node["role"]["value"] != "RootWebArea"
    ]
    assert len(controls) > 15
    assert [role for role, name in controls if not name.strip()] == []
    names = " ".join(name for _, name in controls)
    for words in ("Drawing pad", "Turn, in degrees", "Clear", "Upload a picture", "Most samples"):
        assert words in names


def test_nobody_else_is_asked_for_anything(page, address, folder):
    asked = {urlsplit(url) for url in page.requests()}
    assert {url.netloc for url in asked if url.scheme not in ("data", "blob")} == {urlsplit(address).netloc}
    # Nor does the server ask: it talks to this machine alone.
    for line in (folder / "audit").read_text().splitlines():
        assert re.search(r"127\.0\.0\.1|::1|localhost|/tmp|^socket.getaddrinfo None", line), line
    assert page.driver.execute_async_script(
        "const done = arguments[0];"
        "fetch('https://example.com/').then(() => done('sent'), (error) => done(String(error)))"
    ).startswith("TypeError")
    refused = [
        entry["message"] for entry in page.driver.get_log("browser") if "example.com" in entry["message"]
    ]
    assert any("Content Security Policy" in message for message in refused)
