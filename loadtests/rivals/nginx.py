"""nginx: the board as a file that nginx serves, one worker process, access log off, file cache on.

Nothing is fresher than the file; the rival stands for the cheapest way to hand out the same bytes at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Self

import psutil

from loadtests.processes import BenchError, Processes, cpu_s, wait_until
from loadtests.rivals.bare_uvicorn import CACHE_CONTROL, serves
from loadtests.stack import HOST, free_port

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  open_file_cache max=10;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  server {{
    listen {host}:{port};
    root {folder};
    location / {{ try_files /board.json =404; add_header Cache-Control "{cache}"; }}
  }}
}}
"""


def binary() -> str:
    """Path of nginx. Raises BenchError where it is not installed."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError("nginx is not installed (apt-get install nginx-light)")
    return found


def version() -> str | None:
    """nginx's version; None where it is not installed."""
    try:
        told = subprocess.run([binary(), "-v"], capture_output=True, text=True, check=False)
    except BenchError:
        return None
    return told.stderr.strip().rpartition("/")[2]


class Nginx:
    """The server as a process. Use as a context. Raises BenchError where nginx is not installed."""

    def __init__(self, processes: Processes, body: bytes) -> None:
        self._processes = processes
        self._binary = binary()
        self.port = free_port()
        folder = processes.folder / f"nginx-{self.port}"
        folder.mkdir()
        (folder / "board.json").write_bytes(body)
        user = "user root;" if os.geteuid() == 0 else ""  # else its worker may not enter the folder
        self._config = folder / "nginx.conf"
        self._config.write_text(
            _CONFIG.format(user=user, folder=folder, host=HOST, port=self.port, cache=CACHE_CONTROL)
        )

    def __enter__(self) -> Self:
        """Start; returns when it serves."""
        self._process = self._processes.start("nginx", [self._binary, "-c", str(self._config)])
        wait_until(self._serves, within_s=5, what="nginx answered")
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.end(self._process)

    def _serves(self) -> bool:
        self._processes.check(self._process, "nginx")
        return serves(self.port)

    def cpu_s(self) -> float:
        """CPU seconds of master and worker so far."""
        master = psutil.Process(self._process.pid)
        return sum(cpu_s(each.pid) for each in [master, *master.children()])
