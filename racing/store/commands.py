"""Scripts and commands of one API process, with what its deployment promises of writes. Asynchronous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from racing.errors import RacingError
from racing.store.client import store_errors_async
from racing.store.line import Asking, Command, Pipeline
from racing.store.protocol import AsyncClient
from racing.store.scripts import Script, source

_SCRIPTS: tuple[Script, ...] = (
    "enrol_runners",
    "change_application",
    "change_runners",
    "change_venue",
    "note_decision",
    "put_application",
    "put_orders",
    "put_plan",
    "put_rule",
    "read_numbers",
    "swap_runner",
    "watch_runner",
)


class Commands:
    """How a desk and its parts speak to the store: reads by the client, writes as this deployment promises them."""

    def __init__(
        self, client: AsyncClient, line: Asking | None = None, *, looks: Asking | None = None, safe: bool = False
    ) -> None:
        """line: what events are appended through; safe: a SafeLine, through which every other write goes as well.

        looks: another line, for reads that are made often.
        """
        self._client = client
        self._line, self._looks = line or Pipeline(client), looks or Pipeline(client)
        self._safe = safe
        self._scripts = {name: client.register_script(source(name)) for name in _SCRIPTS}

    @property
    def client(self) -> AsyncClient:
        """The client: for reads of what else the store keeps."""
        return self._client

    async def run(self, name: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # each script's own reply
        """The reply of a script that writes, with what this deployment promises of writes. Raises StoreError."""
        if self._safe:
            return await self.ask("EVAL", source(name), len(keys), *keys, *args)
        return await self.read(name, keys, args)

    async def read(self, name: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # each script's own reply
        """The reply of a script that writes nothing. Raises StoreError."""
        async with store_errors_async():
            return await self._scripts[name](keys=list(keys), args=list(args))

    async def ask(self, *command: Any) -> Any:  # each command's own reply
        """The reply to one command on the line of the appends, with what that line promises. Raises StoreError."""
        return await _asked(self._line, command)

    async def look(self, *command: Any) -> Any:  # each command's own reply
        """The reply to one command that reads, or makes anew what other data says. Raises StoreError."""
        return await _asked(self._looks, command)


async def _asked(line: Asking, command: Command) -> Any:
    (reply,) = await line.ask([command])
    if isinstance(reply, RacingError):
        raise reply
    return reply
