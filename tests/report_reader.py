"""Somebody who reads a report in a browser."""

from __future__ import annotations

import shutil

import pytest

from frameworks import BACKEND

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
IN_A_BROWSER = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page in"),
    pytest.mark.skipif(
        BACKEND != "jax", reason="a page is a page; it is opened in the tests on jax"
    ),
]
SIZES = {"phone": (390, 800), "laptop": (1280, 900)}
READY = ":root[data-ready]:not([data-busy])"


class Reader:
    """Opens a page, chooses in it, and sees; keeps what went wrong and what was loaded."""

    def __init__(self, page, path):
        self.page, self.troubles, self.requests = page, [], []
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        self.wait()

    def wait(self):
        self.page.wait_for_selector(READY, state="attached")

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()

    def texts(self, selector):
        return self.page.locator(selector).all_inner_texts()

    def choose(self, name, value):
        self.page.locator(f"input[name={name}][value='{value}']").check(force=True)
        self.wait()
