"""Doctests of the page's modules are left out where its extra is not installed."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("gradio") else ["src/nsm/demo/*.py"]
