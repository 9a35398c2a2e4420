"""The page as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from nsm.demo.drawing import drawing_tab
from nsm.demo.events import events_tab
from nsm.demo.subject import Subject, Subjects
from nsm.report.page import Markup, element

TITLE = "Neural Sampling Machine"
_HEARTBEAT = 60.0  # seconds


def build(subjects: Subjects) -> gr.Blocks:
    """The page that asks these networks."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_introduction(), elem_classes="nsm-intro", apply_default_css=False)
        with gr.Tab("Draw and turn", elem_id="nsm-drawing-tab"):
            _network(subjects.drawings)
            pad = drawing_tab(subjects.drawings, page)
        with gr.Tab("Event camera", elem_id="nsm-events-tab"):
            _network(subjects.recordings)
            events_tab(subjects.recordings, pad)
        page.load(_connected, show_progress="hidden", api_visibility="private", concurrency_limit=None)
    return page


async def _connected() -> AsyncIterator[None]:
    """A question that is never answered to its end, as long as the page is open.

    The server closes its stream of answers when it owes none, and a question that is asked at that moment is
    never answered.
    """
    while True:
        yield
        await asyncio.sleep(_HEARTBEAT)


def _network(subject: Subject) -> None:
    text = element("p", f"Network: {subject.title}")
    gr.HTML(text, elem_classes="nsm-network", apply_default_css=False)


def _introduction() -> Markup:
    return element(
        "header",
        element("h1", TITLE),
        element(
            "p",
            "Every synapse of this network is noisy, so each pass is one vote. It is asked again and again "
            "until the votes settle the class. Turn a digit, and see where it stops being sure.",
        ),
    )
