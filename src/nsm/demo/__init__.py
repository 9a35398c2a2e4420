"""A web page on this machine: draw a digit, turn it, and see the samples of a network arrive."""

from nsm.demo.server import HOST, bound, check_installed, serve

__all__ = ["HOST", "bound", "check_installed", "serve"]
