"""A WebSocket echo and its client, by the library `websockets`: websocket.py serve ADDRESS, websocket.py talk ADDRESS [CA NAME]."""

import asyncio
import ssl
import sys

import websockets

host, port = sys.argv[2].rsplit(":", 1)


def greeting(socket):
    """What the client's request asks to be greeted with; older versions of the library keep its fields elsewhere."""
    fields = socket.request.headers if hasattr(socket, "request") else socket.request_headers
    return fields.get("X-Greet")


async def echo(socket, *_):
    if greeting(socket):
        return await socket.send(greeting(socket))
    async for message in socket:
        await socket.send(message)


async def serve():
    async with websockets.serve(echo, host, int(port), max_size=None):
        await asyncio.Future()


async def talk():
    url, how = f"ws://{host}:{port}/chat", {}
    if len(sys.argv) > 3:
        url = f"wss://{sys.argv[4]}:{port}/chat"
        how = {"ssl": ssl.create_default_context(cafile=sys.argv[3]), "host": host}
    async with websockets.connect(url, max_size=None, **how) as socket:
        for message in ["hello", "ü" * 1000, b"\x00\xff" * 300_000]:
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())
    assert socket.close_code == 1000, socket.close_code


asyncio.run(asyncio.wait_for({"serve": serve, "talk": talk}[sys.argv[1]](), None if sys.argv[1] == "serve" else 60))
