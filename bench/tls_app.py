"""An app that does TLS itself. Usage: tls_app.py PORT PEM-FILE"""

import http.server
import ssl
import sys

address = ("0.0.0.0", int(sys.argv[1]))
with http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler) as server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
