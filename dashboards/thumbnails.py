"""Small pictures of originals, made where every byte from outside is decoded: in a sandbox."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from flywheel.errors import FlywheelError
from flywheel.images.decode import scaled_view
from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure, Locator, Reason
from flywheel.workspace.storage import read_locator

# Our choice: large enough to judge by eye on a contact sheet, about 5 kB each.
SIDE_PX = 160
JPEG_QUALITY = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image to draw, and where its bytes should be."""

    image_id: str
    locator: Locator


def thumbnails(wanted: Sequence[Wanted], budgets: Budgets) -> dict[str, bytes | Failure]:
    """JPEGs whose longest side is at most SIDE_PX, by image_id; a Failure where the original is gone or changed.

    Raises SandboxFailed where no child process can start.
    """
    task = "dashboards.thumbnails:thumbnail"
    memory = budgets.child_memory_bytes
    sandbox: Sandbox[Wanted, bytes] = Sandbox(task, memory_bytes=memory, item_s=budgets.decode_s, context=budgets)
    with sandbox:
        return {item.image_id: answer for item, answer in zip(wanted, sandbox.run(wanted), strict=True)}


def inlined(wanted: Sequence[Wanted], budgets: Budgets) -> tuple[dict[str, str], dict[str, str]]:
    """By image_id: thumbnails as a page holds them (base64), and why the others cannot be shown."""
    drawn = thumbnails(wanted, budgets)
    pictures = {key: base64.b64encode(jpeg).decode() for key, jpeg in drawn.items() if isinstance(jpeg, bytes)}
    missing = {key: answer.detail or str(answer.reason) for key, answer in drawn.items() if isinstance(answer, Failure)}
    return pictures, missing


def thumbnail(item: Wanted, budgets: Budgets) -> bytes | Failure:
    """Runs in the child. What is read must still hash to its name, or it is not shown under it."""
    try:
        data = read_locator(item.locator, at_most=budgets.max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return Failure(Reason.MISSING, "the original is gone")
    except OSError as error:
        return Failure(Reason.UNREADABLE, f"{type(error).__name__}: {error.strerror or error}")
    except FlywheelError as error:
        return Failure(Reason.UNREADABLE, str(error))
    view = scaled_view(data, budgets)
    if isinstance(view, Failure):
        return view
    if view.facts.image_id != item.image_id:
        return Failure(Reason.CONTENT_CHANGED, "the original holds other bytes now")
    picture = Image.fromarray(view.rgb)
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()
