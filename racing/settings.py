"""Settings, each from an environment variable ``SAIMA_<NAME>`` or the command line."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from racing.documents import worded

REDIS_PATTERN = worded(
    r"^(redis|rediss|unix|redis\+cluster|rediss\+cluster)://",
    "must begin with redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://",
)
ORIGINS_PATTERN = worded(
    r"^(https?://[^/\s*,]+(,https?://[^/\s*,]+)*)?$", "must be origins with a comma between, as https://shop.example"
)
URL_PATTERN = worded(r"^https?://[^\s/]+", "must be an address, as https://cdn.example/purge")


class Settings(BaseSettings):
    """All that a deployment can set. Frozen; unknown values are refused where they are read."""

    model_config = SettingsConfigDict(env_prefix="SAIMA_", frozen=True, extra="forbid")

    redis_url: str | None = Field(
        None,
        pattern=REDIS_PATTERN,
        description="Redis or Valkey to use, redis://host:6379/0, rediss://, unix:///path, or of a cluster some nodes,"
        " redis+cluster://host:6379,host:6379; empty: an embedded Valkey",
    )
    data_dir: Path = Field(Path("saima-data"), description="folder of the embedded server's append-only file")
    segments_dir: Path | None = Field(
        None,
        description="folder of the segment files that outlive the log; empty: in SAIMA_DATA_DIR, or none with a Redis",
    )
    last_frames_dir: Path | None = Field(
        None,
        description="folder in which an API process keeps what it shows, to show it when it starts while Redis is away;"
        " its own alone; empty: in SAIMA_DATA_DIR, or none with a Redis",
    )
    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(8080, ge=1, le=65535, description="port that the API listens on")
    frame_ms: int = Field(100, ge=0, le=60_000, description="a frame is published at most this often, ms")
    idempotency_ms: int = Field(
        900_000, ge=1_000, le=86_400_000, description="how long an answer to an Idempotency-Key is kept at least, ms"
    )
    lease_ms: int = Field(
        3_000, ge=500, le=60_000, description="a scorer that is silent this long loses its venues, ms"
    )
    log_ahead_max_ms: int = Field(
        15_000,
        ge=1_000,
        le=3_600_000,
        description="events are refused (503) while the oldest one that is not yet counted is older than this, ms",
    )
    memory_mb: int = Field(
        0,
        ge=0,
        description="most memory of the embedded server, or of a Redis without maxmemory, MB; 0: half the machine's",
    )
    log_keep_s: int = Field(3_600, ge=60, le=604_800, description="log kept at least this long before it is trimmed, s")
    follower_idle_s: int = Field(
        300, ge=1, le=86_400, description="a follower that nobody has asked for this long ends, s"
    )
    follower_events_max: int = Field(
        2_000_000, ge=1_000, le=100_000_000, description="most events that a follower folds for one question"
    )
    keys: Literal["on", "off"] = Field(
        "on", description="whether requests need API keys; off is for development and is refused beyond loopback"
    )
    key_requests_per_s: int = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="requests a second that each API process takes of a key, unless the key says otherwise; 0: any",
    )
    merchant_requests_per_s: int = Field(
        20,
        ge=0,
        le=100_000,
        description="requests for standings a second that each API process takes of one merchant; 0: any",
    )
    cors_origins: str = Field(
        "",
        pattern=ORIGINS_PATTERN,
        description="web origins that may read answers, comma-separated; those that beacon keys name are added",
    )
    live_streams_max: int = Field(
        10_000, ge=0, le=1_000_000, description="live streams that each API process keeps open, each a descriptor"
    )
    live_streams_per_caller: int = Field(
        1_000, ge=0, le=1_000_000, description="of those, the ones of one key, or of one address without a key; 0: any"
    )
    token_lives_s: int = Field(
        3_600, ge=120, le=86_400, description="how long the token of a slot is taken back after it was issued, s"
    )
    token_uses_max: int = Field(
        10_000,
        ge=1,
        le=10**9,
        description="so often each API process takes back the same token with events of one kind",
    )
    purge_url: str | None = Field(
        None,
        pattern=URL_PATTERN,
        description="address that is told by POST which products an exclusion took off a board, so that caches drop it",
    )
    api_docs: bool = Field(default=True, description="whether the API serves its description at /docs")
    trust_server: bool = Field(
        default=False,
        description="take a server whose version number has known holes: a distribution may have mended them",
    )
    body_max_bytes: int = Field(1_048_576, ge=1_024, le=67_108_864, description="largest request body taken, bytes")
    batch_max_events: int = Field(1_000, ge=1, le=10_000, description="most events in one batch")
    durability: Literal["fast", "safe"] = Field(
        "fast",
        description="safe: events are acknowledged only once the server has proved that a crash does not lose them",
    )
    safe_replicas: int = Field(
        0,
        ge=0,
        le=9,
        description="safe mode: replicas that must have a batch before it is acknowledged; 0: synced on disk instead",
    )
    appendfsync: Literal["everysec", "always", "no"] = Field(
        "everysec",
        description="how the embedded server syncs its append-only file",
    )
    scorer_metrics_port: int = Field(
        0, ge=0, le=65535, description="port on SAIMA_HOST at which a scorer serves its own metrics; 0: none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe line that is logged"
    )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the API."""
        return on_loopback(self.host)

    @property
    def segments_folder(self) -> Path | None:
        """Where segment files go: the folder set, else one beside the embedded server's data, else nowhere."""
        if self.segments_dir is not None or self.redis_url is not None:
            return self.segments_dir
        return self.data_dir / "segments"

    @property
    def last_frames_folder(self) -> Path | None:
        """Where last frames go: the folder set, else one beside the embedded server's data, else nowhere."""
        if self.last_frames_dir is not None or self.redis_url is not None:
            return self.last_frames_dir
        return self.data_dir / "last-frames"

    @property
    def embedded_appendfsync(self) -> str:
        """How the embedded server syncs: before each answer in safe mode, whatever else is set."""
        return "always" if self.durability == "safe" else self.appendfsync


def on_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(**given: object) -> Settings:
    """The settings in force: what is given (None counts as not given), then the environment, then defaults."""
    return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # pydantic checks them
