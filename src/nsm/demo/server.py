"""Serving the page to this machine alone, and asking nobody else for anything."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nsm.demo.subject import Subjects

HOST = "127.0.0.1"
UPLOAD_LIMIT = 16 * 2**20  # bytes: a large photograph
# The browser itself refuses what is not from this server.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def serve(subjects: Subjects, listener: socket.socket, *, ready: Callable[[str], object]) -> None:
    """Serve the page until Ctrl-C, or until the process is told to terminate.

    Args:
        subjects: the networks.
        listener: from :func:`bound`.
        ready: called with the page's address once it can be opened.

    Raises:
        ModuleNotFoundError: if gradio is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="nsm-demo-") as uploads:
        app = application(subjects, uploads)
        import uvicorn

        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        listener.listen()
        ready(f"http://{HOST}:{listener.getsockname()[1]}/")
        with _terminable(), suppress(KeyboardInterrupt):  # how it is meant to end
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _terminable() -> Iterator[None]:
    """Ends the block by ``KeyboardInterrupt`` where the process is told to terminate.

    uvicorn sends itself once more what ended it, and by default that would leave readers' pictures behind.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def bound(port: int) -> socket.socket:
    """A socket that only this machine reaches.

    Args:
        port: in [0, 65535]; 0 for any that is free.

    Raises:
        OSError: if the port is taken, or may not be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise OSError(f"port {port} cannot be used ({error.strerror}); choose another one") from error
    return listener


def application(subjects: Subjects, uploads: str) -> FastAPI:
    """The page as a web application.

    Args:
        subjects: the networks.
        uploads: folder for what readers upload.

    Raises:
        ModuleNotFoundError: if gradio is not installed.
    """
    check_installed()
    # Before gradio is imported: it must report nothing to anybody.
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": uploads,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }
    import gradio
    from fastapi import FastAPI
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from nsm.demo.drawing import ASSETS
    from nsm.demo.page import build

    # A page elsewhere whose name points here must not reach it either.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app = FastAPI(middleware=[Middleware(_Headers), hosts], openapi_url=None)
    theme = gradio.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )

    async def mounted() -> FastAPI:
        whole: FastAPI = gradio.mount_gradio_app(
            app,
            build(subjects),
            path="/",
            server_name=HOST,
            footer_links=[],
            run_history=False,
            max_file_size=UPLOAD_LIMIT,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            theme=theme,
            css_paths=[ASSETS / "style.css"],
        )
        return whole

    # Where no event loop runs, gradio makes some that it never closes.
    return asyncio.run(mounted())


def check_installed() -> None:
    """Refuse to begin without gradio, before any work is done.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ModuleNotFoundError("the page needs the extra: pip install 'neural-sampling-machines[demo]'")


class _Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)
