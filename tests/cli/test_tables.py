"""Tables on terminals of any width."""

import pytest

from nsm.cli.tables import show

COLUMNS = ("network", "kind", "epochs", "error, %", "published, %")
ROWS = [
    ["mnist-cnn", "NSM, Bernoulli noise, learnt as marginals", "20", "0.537", "0.775"],
    ["cifar10-allconv-third", "conventional twin (ReLU, batch norm)", "10", "17.700", ""],
]


def printed(capsys, monkeypatch, width, *, rows=ROWS):
    monkeypatch.setenv("COLUMNS", str(width))
    show(COLUMNS, rows, texts=COLUMNS[:2])
    return capsys.readouterr().out.splitlines()


def test_a_wide_terminal_has_a_line_for_each_row(capsys, monkeypatch):
    lines = printed(capsys, monkeypatch, 120)
    assert [line.split()[0] for line in lines] == ["network", "mnist-cnn", "cifar10-allconv-third"]


@pytest.mark.parametrize("width", [70, 80, 90])
def test_texts_give_way_before_numbers(capsys, monkeypatch, width):
    words = " ".join(printed(capsys, monkeypatch, width)).split()
    for cell in ("0.537", "0.775", "17.700", "Bernoulli", "published,"):
        assert cell in words


@pytest.mark.parametrize("width", [20, 30, 45])
def test_nothing_is_cut_off_on_a_narrow_terminal(capsys, monkeypatch, width):
    lines = printed(capsys, monkeypatch, width)
    letters = sorted("".join("".join(lines).split()))
    everything = "".join("".join(cell.split()) for row in (COLUMNS, *ROWS) for cell in row)
    assert letters == sorted(everything)


def test_a_table_may_be_empty(capsys, monkeypatch):
    assert len(printed(capsys, monkeypatch, 80, rows=[])) == 1


def test_letters_of_two_columns_have_their_room(capsys, monkeypatch):
    lines = printed(capsys, monkeypatch, 80, rows=[["手書き数字", "ß", "20", "0.537", ""]])
    assert len(lines) == 2
    assert lines[1].split() == ["手書き数字", "ß", "20", "0.537"]
