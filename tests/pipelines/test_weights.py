"""Weights come from a path or their publisher, are held to their sums, and are never half there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flywheel.errors import FlywheelError, UsageError
from pipelines import weights
from pipelines.profiles import find_weights
from pipelines.published import PUBLISHED, Published
from pipelines.sources.fetch import FetchLimits

DIMS = 8


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYWHEEL_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def head(tmp_path: Path) -> Path:
    path = tmp_path / "head.safetensors"
    save_file({"weight": np.ones((1, DIMS), np.float32), "bias": np.zeros(1, np.float32)}, path)
    return path


class _Publisher(BaseHTTPRequestHandler):
    data, cut, asked = b"", 0, []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(self.data) - begin))
        self.end_headers()
        body = self.data[begin:]
        self.wfile.write(body[: self.cut] if self.cut and not wanted else body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def publisher(head: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Publisher]]:
    class Publisher(_Publisher):
        data, cut, asked = head.read_bytes(), 0, []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    sha256 = hashlib.sha256(Publisher.data).hexdigest()
    size = len(Publisher.data)
    pinned = Published(url=f"http://{host}/head.safetensors", sha256=sha256, size=size, licence="MIT")
    monkeypatch.setitem(PUBLISHED, "open", pinned)  # type: ignore[arg-type]
    monkeypatch.setattr(weights, "FetchLimits", partial(FetchLimits, allow_hosts=(host,)))
    yield Publisher
    server.shutdown()


def pull(name: str) -> Path:
    return weights.pull(name, lambda there, total: None)


def test_a_head_is_added_found_and_verified_until_it_changes(head: Path, home: Path) -> None:
    place = weights.add("mine", head)
    assert find_weights("mine") == place
    assert [one.wrong for one in weights.verify() if one.name == "mine"] == [""]
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    assert [one.wrong for one in weights.verify() if one.name == "mine"] == ["mine.safetensors has changed"]
    place.unlink()
    (home / "stray.safetensors").write_bytes(b"")
    assert [one.wrong for one in weights.verify() if one.name == "stray"] == ["was not added by `models add`"]


def test_a_pickled_head_is_kept_as_safetensors(tmp_path: Path, home: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"layers.0.weight": torch.ones(1, DIMS), "layers.0.bias": torch.zeros(1)}, tmp_path / "head.pth")
    place = weights.add("mine", tmp_path / "head.pth")
    assert place.suffix == ".safetensors"
    assert load_file(place)["layers.0.weight"].shape == (1, DIMS)


def test_what_is_no_weights_is_refused_and_leaves_nothing(tmp_path: Path, head: Path, home: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "evil.py").write_text("raise SystemExit")
    (tmp_path / "text.safetensors").write_text("no weights")
    for wrong in (tmp_path / "folder", tmp_path / "text.safetensors", tmp_path / "nowhere"):
        with pytest.raises(UsageError):
            weights.add("mine", wrong)
    for name in ("", "../out", ".hidden", "a/b"):
        with pytest.raises(UsageError, match="cannot be a name"):
            weights.add(name, head)
    assert find_weights("mine") is None
    weights.add("mine", head)
    with pytest.raises(UsageError, match="there already"):
        weights.add("mine", head)


def test_a_folder_is_copied_without_code_and_links_become_files(tmp_path: Path, head: Path, home: Path) -> None:
    folder = tmp_path / "vlm"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").symlink_to(head)
    (folder / "modeling.py").write_text("raise SystemExit")
    place = weights.add("vlm", folder)
    assert sorted(path.name for path in place.iterdir()) == ["config.json", "model.safetensors"]
    assert not (place / "model.safetensors").is_symlink()
    (verified,) = [one for one in weights.verify() if one.name == "vlm"]
    assert (verified.files, verified.wrong) == (2, "")


def test_published_weights_are_pulled_on_from_where_an_earlier_try_was_cut_off(publisher: type[_Publisher]) -> None:
    publisher.cut = 40
    with pytest.raises(FlywheelError, match="what has come is kept"):
        pull("open")
    assert find_weights("open") is None
    place = pull("open")
    assert load_file(place)["weight"].shape == (1, DIMS)
    assert publisher.asked == [None, "bytes=40-"]
    assert [one.wrong for one in weights.verify() if one.name == "open"] == [""]


def test_what_was_not_pinned_is_thrown_away_and_a_private_address_not_asked(
    publisher: type[_Publisher], home: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "FetchLimits", FetchLimits)
        with pytest.raises(FlywheelError, match="not a public address"):
            pull("open")
    assert publisher.asked == []
    publisher.data = bytes(len(publisher.data))
    with pytest.raises(FlywheelError, match="not what was pinned"):
        pull("open")
    assert list(home.iterdir()) == []
    with pytest.raises(UsageError, match="no publisher"):
        pull("nobody's")


def test_every_name_of_a_profile_is_listed_with_how_it_comes(head: Path) -> None:
    weights.add("nsfw-vit-b-32-1", head)
    by_name = {one.name: one for one in weights.listed()}
    assert by_name["nsfw-vit-b-32-1"].comes == "added"
    assert by_name["clip-vit-b-32-1"].says.startswith("flywheel models pull clip-vit-b-32-1")
    assert by_name["clip-vit-l-14-1"].profiles == ("full",)
    assert not [name for name in by_name if "/" in name]
