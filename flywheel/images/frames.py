"""Messages between a driver and its own child: eight bytes of length, then a pickle.

Pickle is safe here because both ends are this program and nothing comes from a disk.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!Q")
_RECEIVE_BYTES = 1 << 18


def pack(message: Any) -> bytes:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def receive(sock: socket.socket) -> bytearray | None:
    """The next message, still pickled, from a blocking socket; None when the other end is gone."""
    length = _receive_exactly(sock, _LENGTH.size)
    return None if length is None else _receive_exactly(sock, _LENGTH.unpack(length)[0])


def _receive_exactly(sock: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        count = sock.recv_into(view[got:])
        if count == 0:
            return None
        got += count
    return buffer


class Inbox:
    """Puts messages together again from whatever a non-blocking socket has to give."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def fill(self, sock: socket.socket) -> bool:
        """Read once; False when the other end is gone."""
        chunk = sock.recv(_RECEIVE_BYTES)
        self._buffer += chunk
        return bool(chunk)

    def take(self) -> tuple[Any] | None:
        """The next whole message in a 1-tuple (a message may itself be None), else None."""
        if len(self._buffer) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view, view[_LENGTH.size : end] as body:
            message = pickle.loads(body)
        del self._buffer[:end]
        return (message,)
