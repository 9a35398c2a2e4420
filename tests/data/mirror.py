"""A server on this machine that stands in for the mirrors, and can misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror:
    """Answers by path, and keeps the paths asked for.

    An answer is bytes, an HTTP status, or a function that is given the request handler.
    """

    def __init__(self, address):
        self.address = address
        self.answers = {}
        self.asked = []

    def serve(self, folder, files):
        self.answers |= {f"/{folder}/{name}": data for name, data in files.items()}
        return f"{self.address}/{folder}/{{file}}"


@contextmanager
def running() -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.close_connection = True
            mirror.asked.append(self.path)
            answer = mirror.answers.get(self.path, 404)
            if callable(answer):
                answer(self)
                return
            status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror = Mirror(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()


def broken_off(data):
    """Announces all of ``data``, sends half."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])

    return answer


def in_small_chunks(data):
    """Sends ``data`` without announcing its length."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for place in range(0, len(data), 7):
            piece = data[place : place + 7]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def far_too_much(handler):
    """Sends until the other side has had enough, which it has long before 256 MiB."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        for _ in range(2**12):
            handler.wfile.write(bytes(2**16))
