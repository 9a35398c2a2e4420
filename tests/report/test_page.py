import pytest

from nsm.report import page
from tests.report.html import Page, assert_self_contained

HOSTILE = '</title></style><script>alert("x")</script>&amp;\'"'


def document(text):
    return page.page(
        text,
        text,
        [
            page.section(text, page.paragraph(text), page.tiles([(text, text, text)])),
            page.section(
                text, page.table([text, "n"], [(text, "1")], caption=text), page.facts([(text, text)])
            ),
            page.grid([page.figure(b"<svg/>", text, text)]),
        ],
        text,
    )


def test_every_text_is_escaped():
    parsed = Page(document(HOSTILE))
    assert_self_contained(parsed)
    # Title, heading, lead, section twice, paragraph, tile thrice, table twice, caption, facts twice, figure,
    # footer: each text arrives as it was, in one piece.
    assert parsed.texts.count(HOSTILE) == 16
    assert parsed.images[0]["alt"] == HOSTILE


def test_markup_is_not_escaped_twice():
    assert page.element("p", page.element("b", "<")) == "<p><b>&lt;</b></p>"


def test_numbers_are_aligned_right_and_texts_left():
    table = page.table(["who", "how many"], [("a", "1")])
    assert '<td class="text">a</td><td class="number">1</td>' in table
    assert ".number { text-align: right" in Page(document("x")).style


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="zip"):
        page.table(["a", "b"], [("1",)])


def test_pages_are_made_for_narrow_screens():
    text = document("x")
    assert 'name="viewport" content="width=device-width' in text
    assert "charset" in text
