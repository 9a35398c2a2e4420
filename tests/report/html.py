"""Reading a page back."""

from html.parser import HTMLParser

_VOID = {"img", "meta"}
_LOADS = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}


class Page(HTMLParser):
    """Tags, addresses and texts of a document; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.cells: list[list[str]] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in _LOADS]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            self.style += data
            return
        self.texts.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            self.cells[-1][-1] += data


def assert_self_contained(page: Page) -> None:
    """Nothing is loaded from elsewhere and nothing runs."""
    assert not {"script", "link", "iframe", "object", "embed", "base", "form", "svg"} & set(page.tags)
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert all(image["alt"] for image in page.images)
