"""A counterpart to test against: `python toy_server.py` prints its address. Use your rail's sandbox instead."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

DECLINES = {"tok_declined_hard": "stolen_card", "tok_declined_soft": "insufficient_funds"}
ORDERS: dict[str, dict[str, Any]] = {}


class ToyRail(BaseHTTPRequestHandler):
    """Keeps every order under its key and answers a repeated key with the first answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        if key not in ORDERS:
            code = DECLINES.get(order.get("token", ""))
            state = "declined" if code else "approved"
            ORDERS[key] = {"key": key, "state": state, "code": code, "reference": f"toy_{len(ORDERS) + 1}"} | {
                "amount": order["amount"],
                "calls": 0,
            }
        ORDERS[key]["calls"] += 1
        self.answer(200, ORDERS[key])

    def do_GET(self) -> None:
        order = ORDERS.get(unquote(self.path.rpartition("/")[2]))
        self.answer(200 if order else 404, order or {"error": "no such order"})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), ToyRail)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
