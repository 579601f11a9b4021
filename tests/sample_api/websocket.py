# SPDX-License-Identifier: MIT
"""The server's side of RFC 6455, as far as an echo needs it: frames in, frames out."""

import asyncio
import struct

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FRAME_LIMIT = 16 * 1024 * 1024


def frame(opcode, payload, final=True):
    """One unmasked frame, as a server sends it."""
    size = len(payload)
    first = (0x80 if final else 0) | opcode
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload


def unmask(payload, mask):
    if not payload:
        return payload
    whole = int.from_bytes(payload, "big")
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (whole ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


async def read_frame(reader):
    """(first byte, payload) of the client's next frame."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    if size > FRAME_LIMIT:
        raise ConnectionResetError("frame too large")
    mask = await reader.readexactly(4) if second & 0x80 else b"\0\0\0\0"
    return first, unmask(await reader.readexactly(size), mask)


async def echo(reader, writer):
    """Echoes messages until the client closes, or goes away."""
    while True:
        try:
            first, payload = await read_frame(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        opcode = first & 0x0F
        if opcode == PING:
            writer.write(frame(PONG, payload))
        elif opcode == CLOSE:
            writer.write(frame(CLOSE, payload[:2]))
            await writer.drain()
            return
        elif opcode in (CONTINUATION, TEXT, BINARY):
            writer.write(frame(opcode, payload, bool(first & 0x80)))
        await writer.drain()
