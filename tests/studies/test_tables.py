import json
from pathlib import Path
from typing import Any

import pytest

from nsm.studies import tables

PAGE = "# Title\n\n<!-- table: clt -->\nold\n<!-- end of table -->\n\nAfter.\n"
ROOT = Path(__file__).parents[2]


def store(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{name}.json").write_text(json.dumps({"study": name, "rows": rows}))


def test_a_table_is_written_between_its_marks(tmp_path: Path) -> None:
    store(
        tmp_path,
        "clt",
        [{"law": "B", "fan_in": 50, "largest": 0.0123}, {"law": "B", "fan_in": 16, "largest": 0.2}],
    )
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert tables.update(page, tmp_path)
    assert page.read_text() == (
        "# Title\n\n<!-- table: clt -->\n| law | fan-in 16 | fan-in 50 |\n| --- | ---: | ---: |\n"
        "| B | 2.0e-01 | 1.2e-02 |\n<!-- end of table -->\n\nAfter.\n"
    )
    assert not tables.update(page, tmp_path)


def test_a_page_that_is_no_text_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_bytes(b"a table: \xff")
    with pytest.raises(ValueError, match=r"page\.md: is no text \(byte 9\)"):
        tables.update(page, tmp_path)


def test_a_missing_result_or_an_unknown_table_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match=r"table clt needs .*clt.json, which does not exist"):
        tables.update(page, tmp_path)
    page.write_text(PAGE.replace("clt", "cltt"))
    with pytest.raises(ValueError, match=r"table must be one of mnist, .*got 'cltt'"):
        tables.update(page, tmp_path)
    assert "old" in page.read_text()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_the_pages_show_what_the_result_files_hold(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / page.name
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    assert not tables.update(copy, ROOT / "results"), f"run: nsm reproduce tables {page.name}"
