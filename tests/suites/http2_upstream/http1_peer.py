"""A peer of the mesh that speaks HTTP/1.1 only: python3 http1_peer.py PORT CERTS."""

import http.server
import ssl
import sys

port, certs = int(sys.argv[1]), sys.argv[2]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told = f"{self.requestline} {self.headers['host']} ".encode() + body
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{certs}/cert-chain.pem", f"{certs}/key.pem")
context.load_verify_locations(f"{certs}/root-cert.pem")
context.verify_mode = ssl.CERT_REQUIRED
context.set_alpn_protocols(["istio-http/1.1"])


class Server(http.server.ThreadingHTTPServer):
    def finish_request(self, request, client_address):
        super().finish_request(context.wrap_socket(request, server_side=True), client_address)


Server(("127.0.0.1", port), Handler).serve_forever()
