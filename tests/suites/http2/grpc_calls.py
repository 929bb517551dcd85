"""The calls of the gRPC tests: python3 grpc_calls.py ADDRESS SCENARIO [CA NAME], in TLS where a CA is given."""

import queue
import sys
import time

import grpc

unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
options = unlimited + [("grpc.enable_retries", 0)]
if len(sys.argv) > 3:
    with open(sys.argv[3], "rb") as ca:
        trusted = grpc.ssl_channel_credentials(ca.read())
    channel = grpc.secure_channel(sys.argv[1], trusted, options + [("grpc.ssl_target_name_override", sys.argv[4])])
else:
    channel = grpc.insecure_channel(sys.argv[1], options=options)


def unary(name):
    return channel.unary_unary("/test.Service/" + name)


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("the call succeeded")


def kinds():
    answer, call = unary("Echo").with_call(b"hi", metadata=(("x-sent", "v"),), timeout=30)
    assert answer == b"hi"
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-initial"] == "i" and initial["x-raw-bin"] == b"\x00\xff", initial
    assert trailing["x-trailing"] == "t" and trailing["x-sent"] == "v", trailing
    large = bytes(range(256)) * 80 * 1024
    assert unary("Echo")(large, timeout=60) == large
    assert unary("Echo")(b"", timeout=30) == b""
    assert failure(lambda: unary("Fail")(b"", timeout=30)) == (grpc.StatusCode.NOT_FOUND, "keine: 100 % ü")
    assert failure(lambda: unary("Absent")(b"", timeout=30))[0] == grpc.StatusCode.UNIMPLEMENTED
    counted = channel.unary_stream("/test.Service/Count")(b"n", timeout=30)
    assert list(counted) == [b"n%d" % number for number in range(10)]
    joined = channel.stream_unary("/test.Service/Join")(iter([b"a", b"b", b"c"]), timeout=30)
    assert joined == b"abc", joined
    said = queue.Queue()
    heard = channel.stream_stream("/test.Service/Talk")(iter(said.get, None), timeout=30)
    for number in range(5):
        said.put(b"%d" % number)
        assert next(heard) == b"re:%d" % number
    said.put(None)
    assert list(heard) == []


def deadlines():
    begin = time.monotonic()
    code, _ = failure(lambda: unary("Slow")(b"", timeout=0.5))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code
    assert time.monotonic() - begin < 5
    left = float(unary("TimeLeft")(b"", timeout=100))
    # gRPC itself rounds up what it sends.
    assert 50 < left <= 102, left


def echo():
    assert unary("Echo")(b"over", timeout=30) == b"over"
    talk = channel.stream_stream("/test.Service/Talk")
    assert list(talk(iter([b"a", b"b"]), timeout=30)) == [b"re:a", b"re:b"]


def cancellation():
    call = unary("Slow").future(b"")
    time.sleep(0.5)
    assert call.cancel()
    assert unary("Echo")(b"on", timeout=30) == b"on"


def unavailable():
    code, details = failure(lambda: unary("Echo")(b"", timeout=30))
    assert code == grpc.StatusCode.UNAVAILABLE, code
    assert "origin.local" in details, details


def timeout():
    code, _ = failure(lambda: unary("Slow")(b"", timeout=30))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code
    # The service is told of the shorter time.
    left = float(unary("TimeLeft")(b"", timeout=30))
    assert 0 < left <= 0.4, left


def silence():
    code, _ = failure(lambda: unary("Echo")(b"", timeout=30))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code


def retries():
    for status in (1, 4, 8, 13, 14):
        assert unary("Flaky")(b"%d" % status, timeout=30) == b"done", status
    assert failure(lambda: unary("Flaky")(b"9", timeout=30))[0] == grpc.StatusCode.FAILED_PRECONDITION


def shares():
    """Of 120 calls three endpoints get some each: fewer than 5 of them come of a fair draw once in a thousand million runs."""
    where = unary("Where")
    answers = [where(b"", timeout=30) for _ in range(60)]
    answers += [call.result() for call in [where.future(b"", timeout=30) for _ in range(60)]]
    counts = {answer: answers.count(answer) for answer in answers}
    assert len(counts) == 3 and min(counts.values()) >= 5, counts


globals()[sys.argv[2]]()
