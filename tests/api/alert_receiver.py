"""A process that takes alerts as an Alertmanager, a webhook receiver and PagerDuty would: `python -m … --port N`.

POST keeps the body under its path; the first POST of each path is answered 503. GET /received returns everything.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RECEIVED: dict[str, list[Any]] = {}
SEEN: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    def do_GET(self) -> None:
        """Answer with everything received."""
        self._answer(200, RECEIVED)

    def do_POST(self) -> None:
        """Take a message, except the first one."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in SEEN:
            SEEN.add(self.path)
            self._answer(503, {"message": "come again"})
            return
        RECEIVED.setdefault(self.path, []).append(body)
        self._answer(202, {"status": "success"})

    def _answer(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Receiver).serve_forever()
