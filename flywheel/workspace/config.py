"""`flywheel.toml`: what a workspace says about itself."""

from __future__ import annotations

import tomllib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flywheel.errors import UsageError
from flywheel.records import Budgets

TEMPLATE = """\
# A Flywheel workspace. Every value here has the default shown.

[workspace]
profile = "{profile}"        # miniature | cpu | full: names the policy a new workspace judges by

[ingest]
max_bytes = 67108864         # of one file
max_pixels = 64000000        # of one image, read from its header before anything is decoded
max_side_px = 30000
decode_s = 20.0              # then the decoding child is killed and the image quarantined; at native size 1.5 times, for OCR 6 times
child_memory_mb = 1400       # address space of a decoding child; for OCR 512 more
allow_hosts = []             # private hosts that URLs may name, e.g. ["images.internal:8080"]
fetch_s = 30.0               # for one URL, from the first byte sent to the last received

[models]                     # names of weights on this machine (`flywheel doctor`), or paths; "none" for none. Unset: as the profile
# clip = "clip-miniature-1"
# aesthetic = "aesthetic-miniature-1"
# captioner = "captioner-miniature-1"

[captioner]
urls = []                    # OpenAI-style servers, e.g. ["http://127.0.0.1:8000/v1"]; none: the model runs in this process
served_as = ""               # the model's name on those servers
prompts = ""                 # full | brief (for a model trained on these very words); unset: as the profile says
kinds = ["general", "text", "knowledge", "structured"]
max_pixels = 1048576         # of an image as it is sent
in_flight = 64               # requests on their way at once
timeout_s = 120.0            # for one answer; then it is aborted and asked again
max_wait_s = 3600.0          # for a server that is down, before the run ends; it can be resumed
asks = 3                     # of one caption, each with another seed, before it is quarantined

[run]
workers = 0                  # 0: one a core
micro_batch = 256            # images committed together; a kill repeats at most one a worker
disk_reserve_mb = 1024       # below this a run pauses with its tables whole

[sql]
memory_mb = 2048
threads = 2
seconds = 60
rows = 1000000
"""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceSection(_Section):
    profile: Literal["miniature", "cpu", "full"] = "miniature"


class IngestSection(_Section):
    max_bytes: int = Field(64 << 20, gt=0)
    max_pixels: int = Field(64_000_000, gt=0)
    max_side_px: int = Field(30_000, gt=0)
    decode_s: float = Field(20.0, gt=0)
    child_memory_mb: int = Field(1400, ge=256)
    allow_hosts: tuple[str, ...] = ()
    fetch_s: float = Field(30.0, gt=0)

    @property
    def budgets(self) -> Budgets:
        return Budgets(
            max_bytes=self.max_bytes,
            max_pixels=self.max_pixels,
            max_side_px=self.max_side_px,
            decode_s=self.decode_s,
            child_memory_bytes=self.child_memory_mb << 20,
        )


class ModelsSection(_Section):
    """None: what the profile names."""

    clip: str | None = None
    aesthetic: str | None = None
    nsfw: str | None = None
    watermark: str | None = None
    foreign: str | None = None
    captioner: str | None = None


class CaptionerSection(_Section):
    urls: tuple[str, ...] = ()
    served_as: str = ""
    prompts: Literal["", "full", "brief"] = ""
    kinds: tuple[Literal["general", "text", "knowledge", "structured"], ...] = (
        "general",
        "text",
        "knowledge",
        "structured",
    )
    max_pixels: int = Field(1 << 20, ge=1024)
    in_flight: int = Field(64, ge=1, le=1024)
    timeout_s: float = Field(120.0, gt=0)
    max_wait_s: float = Field(3600.0, ge=0)
    asks: int = Field(3, ge=1, le=10)


class RunSection(_Section):
    workers: int = Field(0, ge=0)
    micro_batch: int = Field(256, ge=1, le=256)
    disk_reserve_mb: int = Field(1024, ge=0)


class SqlSection(_Section):
    memory_mb: int = Field(2048, ge=64)
    threads: int = Field(2, ge=1)
    seconds: float = Field(60.0, gt=0)
    rows: int = Field(1_000_000, gt=0)


class WorkspaceConfig(_Section):
    workspace: WorkspaceSection = WorkspaceSection()
    ingest: IngestSection = IngestSection()
    models: ModelsSection = ModelsSection()
    captioner: CaptionerSection = CaptionerSection()
    run: RunSection = RunSection()
    sql: SqlSection = SqlSection()


def parse_config(text: str, where: str) -> WorkspaceConfig:
    """Parse `flywheel.toml`.

    Raises UsageError naming the file and the first wrong entry.
    """
    try:
        return WorkspaceConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {entry}: {first['msg']}") from error
