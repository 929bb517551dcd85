"""The service of the gRPC tests: every method takes and gives plain bytes."""

import sys
import time
from collections import Counter
from concurrent import futures

import grpc

tries = Counter()


def echo(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", "i"), ("x-raw-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-trailing", "t"), ("x-sent", sent.get("x-sent", "-"))))
    return request


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "keine: 100 % ü")


def slow(request, context):
    for _ in range(200):
        if not context.is_active():
            print("cancelled", file=sys.stderr, flush=True)
            return b""
        time.sleep(0.05)
    return request


def time_left(request, context):
    return str(context.time_remaining()).encode()


def where(request, context):
    return sys.argv[1].encode()


def flaky(request, context):
    """Fails twice with the status that the request names by its number."""
    tries[request] += 1
    if tries[request] % 3 != 0:
        code = next(code for code in grpc.StatusCode if code.value[0] == int(request))
        context.abort(code, "not yet")
    return b"done"


def count(request, context):
    for number in range(10):
        yield request + b"%d" % number


def join(requests, context):
    return b"".join(requests)


def talk(requests, context):
    for request in requests:
        yield b"re:" + request


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "TimeLeft": grpc.unary_unary_rpc_method_handler(time_left),
    "Where": grpc.unary_unary_rpc_method_handler(where),
    "Flaky": grpc.unary_unary_rpc_method_handler(flaky),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method.removeprefix("/test.Service/"))


unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
server = grpc.server(futures.ThreadPoolExecutor(16), options=unlimited)
server.add_generic_rpc_handlers((Handler(),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
