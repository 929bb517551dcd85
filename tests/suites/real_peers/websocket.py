"""A WebSocket echo and its client, by the library `websockets`: websocket.py serve|talk ADDRESS."""

import asyncio
import sys

import websockets

host, port = sys.argv[2].rsplit(":", 1)


async def echo(socket, *_):
    async for message in socket:
        await socket.send(message)


async def serve():
    async with websockets.serve(echo, host, int(port), max_size=None):
        await asyncio.Future()


async def talk():
    async with websockets.connect(f"ws://{host}:{port}/chat", max_size=None) as socket:
        for message in ["hello", "ü" * 1000, b"\x00\xff" * 300_000]:
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())
    assert socket.close_code == 1000, socket.close_code


asyncio.run(asyncio.wait_for({"serve": serve, "talk": talk}[sys.argv[1]](), None if sys.argv[1] == "serve" else 60))
