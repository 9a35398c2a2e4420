"""The page as a whole."""

from __future__ import annotations

import gradio as gr

from nsm.demo.drawing import drawing_tab
from nsm.demo.subject import Subject
from nsm.report.page import Markup, element

TITLE = "Neural Sampling Machine"


def build(subject: Subject) -> gr.Blocks:
    """The page that asks a network."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_introduction(subject), elem_classes="nsm-intro", apply_default_css=False)
        drawing_tab(subject, page)
    return page


def _introduction(subject: Subject) -> Markup:
    return element(
        "header",
        element("h1", TITLE),
        element(
            "p",
            "Every synapse of this network is noisy, so each pass is one vote. It is asked again and again "
            "until the votes settle the class. Turn a digit, and see where it stops being sure.",
        ),
        element("p", f"Network: {subject.title}"),
    )
