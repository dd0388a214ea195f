"""All settings of the web site, from flags and the environment: one checked model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from coloria.cli.options import DEVICES
from coloria.errors import OptionError

__all__ = ["PREFIX", "Settings"]

PREFIX = "COLORIA_WEB_"
"""Variables of the environment: this, and the name of a field in capitals."""


def _listed(value: Any) -> Any:
    """``a, b`` is two values."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _device(value: str) -> str:
    if value.partition(":")[0] not in DEVICES:
        raise ValueError(f"it must be one of {', '.join(DEVICES)}")
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Settings(BaseModel):
    """How the site is run; the fields are the flags of ``coloria serve``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every one of this machine."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes any free one."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that colour pictures."""
    threads: int | None = Field(default=None, ge=1)
    """PyTorch's threads in each; by default the processors are shared out."""
    worker_mb: float = Field(default=4000, ge=1500)
    """Most memory of each, in megabytes; Linux enforces it on workers that run on the CPU."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    models: Words = ()
    """Names of those offered; by default every one whose weights are there."""

    max_files: int = Field(default=5, ge=1, le=50)
    """Pictures of one upload."""
    max_mb: float = Field(default=25, gt=0)
    """Largest file, in megabytes (10^6 bytes)."""
    max_megapixels: float = Field(default=40, gt=0)
    """Largest picture, in 10^6 pixels."""
    keep_minutes: float = Field(default=10, gt=0)
    """How long results are there, from the moment they are ready."""
    queue: int = Field(default=100, ge=1)
    """Pictures that may wait, each model counting; more is refused with 503."""
    per_client: int = Field(default=20, ge=1)
    """Pictures of one client that may wait or be at work, each model counting."""
    per_minute: int = Field(default=60, ge=1)
    """Uploads of one client in a minute, and as many renderings."""
    timeout: float = Field(default=120, gt=0)
    """Seconds for one picture with one model, before its process is ended."""
    max_disk_mb: float = Field(default=2000, gt=0)
    """Uploads and results together, in megabytes."""
    folder: str | None = None
    """Where they lie; by default ``web`` in the cache folder."""

    contact: str = ""
    """Mail address shown on the site."""
    origins: Words = ()
    """Other sites whose pages may use the API (CORS), as ``https://example.org``."""
    hosts: Words = ()
    """Names the site may be asked for by; by default local ones if `host` is local, else any."""
    proxies: Words = ()
    """Addresses of reverse proxies whose X-Forwarded-For is believed."""
    log_json: bool = False
    """The log as one JSON object a line."""
    reload: bool = False
    """For development: templates and code are read anew when they change."""

    @property
    def max_bytes(self) -> int:
        """Of one file."""
        return int(self.max_mb * 1e6)

    @property
    def max_pixels(self) -> int:
        """Of one picture."""
        return int(self.max_megapixels * 1e6)

    @property
    def keep_s(self) -> float:
        """Seconds that results are there."""
        return self.keep_minutes * 60

    @classmethod
    def load(
        cls, given: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> Settings:
        """What was given, over the environment, over the defaults.

        Raises:
            OptionError: A value is out of its range, or a variable is none of the settings.
        """
        named = {
            key.removeprefix(PREFIX).lower(): value
            for key, value in environment.items()
            if key.startswith(PREFIX)
        }
        try:
            return cls(**{**named, **given})
        except ValidationError as error:
            raise OptionError(_told(error)) from error

    def environment(self) -> dict[str, str]:
        """The variables that make :meth:`load` give these settings again."""
        default = Settings()
        return {
            PREFIX + name.upper(): ",".join(value) if isinstance(value, tuple) else str(value)
            for name, value in self
            if value != getattr(default, name)
        }


def _told(error: ValidationError) -> str:
    """One line: which setting, what came, what is wanted."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    said = first["msg"].removeprefix("Value error, ").lower()
    if first["type"] == "extra_forbidden":
        return (
            f"{PREFIX}{name.upper()} is no setting; there are: {', '.join(Settings.model_fields)}"
        )
    return f"--{name.replace('_', '-')} ({PREFIX}{name.upper()}): {said}; got {first['input']!r}"
