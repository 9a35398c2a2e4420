"""Writing files: whole ones or none, and nothing in the place of what is no file."""

import os

import pytest

from nsm.files import write_atomically


def test_a_file_is_replaced_and_a_missing_folder_made(tmp_path):
    path = tmp_path / "new" / "file"
    for data in (b"one", b"another"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_what_a_link_points_to_is_written(tmp_path):
    target, link = tmp_path / "data" / "file", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    write_atomically(link, b"content")
    assert link.is_symlink()
    assert target.read_bytes() == b"content"
    assert sorted(tmp_path.iterdir()) == [target.parent, link]


def test_a_pipe_is_left_in_its_place(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"pipe: cannot be written \(is no regular file\)"):
        write_atomically(pipe, b"content")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_folder_and_what_lies_behind_a_file_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path, problem in ((tmp_path, "Is a directory"), (file / "below", "(Not a directory|File exists)")):
        with pytest.raises(OSError, match=rf"{path.name}: cannot be written \({problem}\)"):
            write_atomically(path, b"content")
    assert list(tmp_path.iterdir()) == [file]
