"""The server's end: first it says that it is not ready, and serves on; then it closes."""

from __future__ import annotations

import signal
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

DRAIN_S = 0.5
"""Between SIGTERM and the end of listening: whoever balances load may look at /readyz and send elsewhere."""


class DrainingServer(uvicorn.Server):
    """uvicorn's server; at SIGTERM it drains for DRAIN_S, at a second one or at SIGINT it closes at once.

    What is being answered is answered still, within uvicorn's own timeout_graceful_shutdown.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._draining_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain."""
        service = getattr(self._app.state, "service", None)
        if sig != signal.SIGTERM or service is None or self._draining_s is not None:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)  # told on at the end, as uvicorn does
        service.draining = True
        self._draining_s = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now: asked ten times a second."""
        if self._draining_s is not None and time.monotonic() - self._draining_s >= DRAIN_S:
            self.should_exit = True
        return await super().on_tick(counter)
