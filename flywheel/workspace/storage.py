"""One way to reach bytes, whether they lie in a local folder or in an object store.

Local files go through `os`, because only there can a write be fsynced and renamed and a name be invalid
UTF-8; object stores go through `pyarrow.fs`, which reads AWS_ENDPOINT_URL, AWS_REGION and the usual
credentials from the environment.
"""

from __future__ import annotations

import functools
import io
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote, unquote

from flywheel.errors import SourceError
from flywheel.records import Locator
from flywheel.workspace.places import SAFE, canonical_uri, file_uri, is_local, local_path, object_uri

if TYPE_CHECKING:
    from pyarrow import fs  # loaded where an object store is read: a child that decodes local files needs none

# Our choice: what one range request of an object store fetches when a reader walks through an object.
READ_AHEAD_BYTES = 1 << 20
_ASIDE = ".aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object or folder as its store describes it. `size` in bytes."""

    uri: str
    size: int
    mtime_ns: int
    is_folder: bool = False

    @property
    def fingerprint(self) -> str:
        return f"{self.size}-{self.mtime_ns}"


@functools.lru_cache(maxsize=64)
def _bucket_filesystem(bucket: str, pid: int, environment: tuple[str | None, ...]) -> fs.FileSystem:
    from pyarrow import fs

    return fs.FileSystem.from_uri(f"s3://{bucket}")[0]


def _object_place(uri: str) -> tuple[fs.FileSystem, str]:
    """The filesystem and its path (bucket/key) behind an s3:// URI."""
    if not uri.startswith("s3://"):
        raise SourceError(f"only file:// and s3:// can be read here, not {uri.split(':')[0]}:")
    bucket, _, key = canonical_uri(uri).removeprefix("s3://").partition("/")
    # A client does not survive a fork, and another endpoint or key is another client.
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")
    filesystem = _bucket_filesystem(bucket, os.getpid(), tuple(os.environ.get(name) for name in names))
    return filesystem, f"{bucket}/{unquote(key)}" if key else bucket


def open_uri(uri: str) -> BinaryIO:
    """A seekable, buffered reader. Raises FileNotFoundError, or OSError for what is not a regular file."""
    if is_local(uri):
        # A named pipe must be refused, not waited for.
        handle = os.open(local_path(uri), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(f"not a regular file: {uri}")
        return os.fdopen(handle, "rb")
    filesystem, path = _object_place(uri)
    return cast(BinaryIO, io.BufferedReader(filesystem.open_input_file(path), READ_AHEAD_BYTES))


def read_locator(locator: Locator, at_most: int | None = None) -> bytes:
    """The bytes that a locator names, whole or range; never follows anything but file:// and s3://.

    With `at_most`, a whole object is read to one byte beyond it, so that the caller sees that it is too large
    without holding it.

    Raises FileNotFoundError where the object is gone and OSError where the range ends early: the caller
    decides what that means. Raises SourceError for any other scheme, and for a member that has no range (of a
    gz tar or a Parquet row): its bytes come from reading the source again.
    """
    if locator.member is not None and locator.offset is None:
        raise SourceError(f"{locator.member} inside {locator.uri} cannot be read on its own")
    if locator.offset is None or locator.length is None:
        with open_uri(locator.uri) as stream:
            return stream.read(-1 if at_most is None else min(at_most, _size_of(stream)) + 1)
    if is_local(locator.uri):
        with open_uri(locator.uri) as stream:
            stream.seek(locator.offset)
            data = stream.read(locator.length)
    else:
        filesystem, path = _object_place(locator.uri)
        with filesystem.open_input_file(path) as source:
            data = bytes(source.read_at(locator.length, locator.offset))
    if len(data) != locator.length:
        raise OSError(f"{locator.uri} ends inside the range {locator.offset}+{locator.length}")
    return data


def _size_of(stream: BinaryIO) -> int:
    """What is left to read: asking for a whole budget would allocate it first."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


def describe(uri: str) -> StoredObject:
    """Size, time and kind of one place, following a local symlink. Raises FileNotFoundError."""
    if is_local(uri):
        found = os.stat(local_path(uri))
        return StoredObject(
            uri=uri, size=found.st_size, mtime_ns=found.st_mtime_ns, is_folder=stat.S_ISDIR(found.st_mode)
        )
    described = describe_objects([uri])[0]
    if described is None:
        raise FileNotFoundError(f"no such object: {uri}")
    return described


def describe_objects(uris: Sequence[str]) -> list[StoredObject | None]:
    """`describe` for many s3:// URIs of any buckets, asked in parallel; None where there is nothing."""
    places = [_object_place(uri) for uri in uris]
    found: dict[str, fs.FileInfo] = {}
    for filesystem in {id(filesystem): filesystem for filesystem, _ in places}.values():
        paths = sorted({path for mine, path in places if mine is filesystem})
        found.update(zip(paths, filesystem.get_file_info(paths), strict=True))
    return [_stored(uri, found[path]) for uri, (_, path) in zip(uris, places, strict=True)]


def _stored(uri: str, info: fs.FileInfo) -> StoredObject | None:
    if info.type.name not in ("File", "Directory"):
        return None
    return StoredObject(uri=uri, size=info.size or 0, mtime_ns=info.mtime_ns or 0, is_folder=not info.is_file)


def list_objects(uri: str) -> list[StoredObject]:
    """Every object below an s3:// prefix, sorted by key; folder markers are left out."""
    from pyarrow import fs

    filesystem, path = _object_place(uri)
    found = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    files = [info for info in found if info.is_file]
    objects = (_stored(object_uri(*info.path.split("/", 1)), info) for info in sorted(files, key=lambda i: i.path))
    return [stored for stored in objects if stored is not None]


class Store:
    """A folder or object-store prefix, addressed by relative path.

    Every method raises FileNotFoundError for what is not there, and ValueError for a relative path that
    is absolute or leaves the root.
    """

    def __init__(self, root: str) -> None:
        self.root_uri = canonical_uri(root)
        self.is_local = is_local(self.root_uri)

    def uri_of(self, relpath: str) -> str:
        parts = PurePosixPath(relpath).parts
        if not parts or ".." in parts or parts[0] == "/" or "\0" in relpath:
            raise ValueError(f"not a path inside the store: {relpath!r}")
        return f"{self.root_uri.rstrip('/')}/{quote('/'.join(parts), safe=SAFE)}"

    def relpath_of(self, uri: str) -> str:
        """The inverse of `uri_of`. Raises ValueError for a URI outside this store."""
        prefix = self.root_uri.rstrip("/") + "/"
        if not uri.startswith(prefix):
            raise ValueError(f"{uri} is not inside {self.root_uri}")
        return unquote(uri.removeprefix(prefix))

    def path_of(self, relpath: str) -> str:
        """The local path of a relative path; only for a local store."""
        return os.fsdecode(local_path(self.uri_of(relpath)))

    def read(self, relpath: str) -> bytes:
        return read_locator(Locator(uri=self.uri_of(relpath)))

    def read_range(self, relpath: str, offset: int, length: int) -> bytes:
        return read_locator(Locator(uri=self.uri_of(relpath), offset=offset, length=length))

    def open(self, relpath: str) -> BinaryIO:
        return open_uri(self.uri_of(relpath))

    def exists(self, relpath: str) -> bool:
        try:
            return not describe(self.uri_of(relpath)).is_folder
        except (FileNotFoundError, NotADirectoryError):
            return False

    def write_new(self, relpath: str, data: bytes | Iterable[bytes]) -> None:
        """Make an object appear whole or not at all; one of the same name is replaced.

        Locally written aside, fsynced and renamed. An object store publishes an upload when it is closed, so
        that a killed writer leaves nothing; one that fails in the middle is deleted again.
        """
        chunks = [data] if isinstance(data, bytes) else data
        if self.is_local:
            self._write_aside(self.path_of(relpath), chunks)
            return
        filesystem, path = _object_place(self.uri_of(relpath))
        stream = filesystem.open_output_stream(path)
        try:
            for chunk in chunks:
                stream.write(chunk)
        except BaseException:
            # pyarrow can only close an upload, which publishes the part that was written.
            stream.close()
            filesystem.delete_file(path)
            raise
        stream.close()

    def _write_aside(self, path: str, chunks: Iterable[bytes]) -> None:
        folder, name = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        aside = os.path.join(folder, f".{name}.{secrets.token_hex(6)}{_ASIDE}")
        try:
            with open(aside, "xb") as handle:
                for chunk in chunks:
                    handle.write(chunk)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(aside, path)
        except BaseException:
            if os.path.exists(aside):
                os.unlink(aside)
            raise
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every object below a folder of the store, sorted by path; what is still being written is left out."""
        uri = self.uri_of(prefix) if prefix else self.root_uri
        if not self.is_local:
            yield from list_objects(uri)
            return
        for path in _walk(local_path(uri)):
            if not path.endswith(_ASIDE.encode()):
                yield describe(file_uri(path))

    def folders(self) -> Sequence[str]:
        """Names of the folders directly below the root, sorted; none where nothing is."""
        if self.is_local:
            try:
                return sorted(
                    os.fsdecode(entry.name) for entry in os.scandir(local_path(self.root_uri)) if entry.is_dir()
                )
            except FileNotFoundError:
                return []
        from pyarrow import fs

        filesystem, path = _object_place(self.root_uri)
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type.name == "Directory")

    def delete(self, relpath: str) -> None:
        uri = self.uri_of(relpath)
        if self.is_local:
            os.unlink(local_path(uri))
            return
        filesystem, path = _object_place(uri)
        filesystem.delete_file(path)

    def sweep(self, older_than_s: float) -> int:
        """Delete what killed writers left aside; returns how many files went. Local stores only have any."""
        if not self.is_local:
            return 0
        limit = time.time() - older_than_s
        left = [path for path in _walk(local_path(self.root_uri)) if path.endswith(_ASIDE.encode())]
        old = [path for path in left if os.stat(path).st_mtime < limit]
        for path in old:
            os.unlink(path)
        return len(old)


def _walk(root: bytes) -> Iterator[bytes]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(files))
