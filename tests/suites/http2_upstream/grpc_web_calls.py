"""Calls of gRPC-Web as browsers make them: python3 grpc_web_calls.py ADDRESS h1|h2 SCENARIO."""

import base64
import http.client
import struct
import subprocess
import sys
import tempfile

address, version, scenario = sys.argv[1:]


def send(path, headers, body, chunks=None):
    """POSTs a body; status, headers and body of the answer."""
    if version == "h1":
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("POST", path, body=iter(chunks) if chunks else body, headers=headers, encode_chunked=bool(chunks))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    with tempfile.NamedTemporaryFile() as up:
        up.write(body)
        up.flush()
        command = ["curl", "-sS", "--max-time", "10", "--http2-prior-knowledge", "-i", "--data-binary", "@" + up.name]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        command.append(f"http://{address}{path}")
        for _ in range(5):
            done = subprocess.run(command, capture_output=True)
            # curl 7 takes an answer that ends before its own body has left for an error, or waits for more of it; it does the
            # same with the service itself.
            if done.returncode not in (28, 92) or not path.endswith("Absent"):
                break
        done.check_returncode()
        out = done.stdout
    head, _, rest = out.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value for name, value in fields.items()}, rest


def frame(message):
    return b"\x00" + struct.pack(">I", len(message)) + message


def unframe(body):
    """The messages and the trailers of a body."""
    messages, trailers = [], None
    while body:
        flags, length = body[0], struct.unpack(">I", body[1:5])[0]
        part, body = body[5 : 5 + length], body[5 + length :]
        assert len(part) == length, "the body is cut"
        if flags & 0x80:
            assert not body, "trailers come last"
            trailers = dict(line.split(": ", 1) for line in part.decode().split("\r\n") if line)
        else:
            messages.append(part)
    return messages, trailers


def call(method, message, kind="", text=False, timeout=None, chunks=None):
    """Messages, trailers (or the head, of an answer without a body), and the answer's type."""
    sort = "application/grpc-web" + ("-text" if text else "") + kind
    headers = {"Content-Type": sort, "Accept": sort, "X-Grpc-Web": "1"}
    if timeout:
        headers["grpc-timeout"] = timeout
    body = frame(message)
    body = base64.b64encode(body) if text else body
    status, fields, answer = send("/test.Service/" + method, headers, body, chunks)
    assert status == 200, (status, fields, answer)
    assert fields["content-type"] == sort, fields
    if text:
        # Every stretch is padded for itself, as decoders of browsers expect.
        answer = b"".join(base64.b64decode(answer[at : at + 4]) for at in range(0, len(answer), 4))
    messages, trailers = unframe(answer)
    return messages, trailers or fields


def kinds():
    for text in (False, True):
        for kind in ("", "+proto"):
            messages, trailers = call("Echo", b"hi", kind, text)
            assert messages == [b"hi"] and trailers["grpc-status"] == "0", (messages, trailers)
        large = bytes(range(256)) * 4096
        messages, trailers = call("Echo", large, "", text)
        assert messages == [large] and trailers["grpc-status"] == "0"
        messages, trailers = call("Count", b"n", "", text)
        assert messages == [b"n%d" % number for number in range(10)], messages
        _, trailers = call("Fail", b"", "", text)
        assert trailers["grpc-status"] == "5", trailers
        _, trailers = call("Absent", b"", "", text)
        assert trailers["grpc-status"] == "12", trailers
    if version == "h1":
        # In chunks that end within a group of four, and padded in the middle.
        parts = base64.b64encode(frame(b"abcd")[:4]) + base64.b64encode(frame(b"abcd")[4:])
        chunks = [parts[at : at + 3] for at in range(0, len(parts), 3)]
        headers = {"Content-Type": "application/grpc-web-text", "Transfer-Encoding": "chunked"}
        status, _, answer = send("/test.Service/Echo", headers, None, chunks)
        assert status == 200 and base64.b64decode(answer[:12]) == frame(b"abcd"), (status, answer)


def deadline():
    _, trailers = call("Slow", b"", timeout="300m")
    assert trailers["grpc-status"] == "4", trailers


def unavailable():
    messages, trailers = call("Echo", b"hi")
    assert messages == [] and trailers["grpc-status"] == "14" and trailers["grpc-message"], trailers


def malformed():
    headers = {"Content-Type": "application/grpc-web-text"}
    status, _, _ = send("/test.Service/Echo", headers, b"!!!!")
    assert status == 400, status


globals()[scenario]()
