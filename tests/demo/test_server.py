import signal
import socket
import tempfile

import pytest

from nsm import demo, models
from nsm.demo import server
from nsm.demo.subject import Subject, Subjects, load_subject

gradio = pytest.importorskip("gradio", reason="gradio is not installed: it comes with the extra 'demo'")


@pytest.fixture(scope="module")
def client(run, tmp_path_factory):
    from starlette.testclient import TestClient

    recordings = Subject(models.build("nmnist-cnn").eval(), "nmnist", "fresh")
    app = server.application(Subjects(load_subject(run), recordings), str(tmp_path_factory.mktemp("uploads")))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def test_the_page_names_no_other_host_that_a_browser_would_ask(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for other in ("fonts.googleapis.com", "fonts.gstatic.com", "cdnjs", "cdn.jsdelivr"):
        assert other not in page.text


def test_another_name_for_this_machine_is_refused(client):
    assert client.get("/", headers={"host": "example.com"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:80"}).status_code == 200


def test_an_upload_above_the_limit_is_refused(client):
    large = b"0" * (server.UPLOAD_LIMIT + 1)
    answer = client.post("/gradio_api/upload", files={"files": ("large.png", large)})
    assert answer.status_code == 413


def test_only_this_machine_reaches_it():
    with server.bound(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port} cannot be used .*choose another"):
            server.bound(port)


def test_a_port_that_is_taken_is_told_before_networks_are_trained(nsm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = nsm("demo", "--port", other.getsockname()[1])
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_end_leaves_no_uploads_behind(monkeypatch, tmp_path):
    import uvicorn

    def run(self, sockets):
        (folder,) = tmp_path.iterdir()
        (folder / "picture.png").touch()
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("not asked"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(server, "application", lambda subjects, uploads: None)
    monkeypatch.setattr(uvicorn.Server, "run", run)
    try:
        with server.bound(0) as listener:
            server.serve(None, listener, ready=lambda url: None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(nsm, run, monkeypatch):
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"neural-sampling-machines\[demo\]"):
        demo.check_installed()
    result = nsm("demo", run)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'neural-sampling-machines[demo]'" in result.stderr


def test_a_run_that_takes_no_drawings_is_refused(nsm, run, tmp_path):
    result = nsm("demo", tmp_path)
    assert result.exit_code == 1
    assert "config.json" in result.stderr
