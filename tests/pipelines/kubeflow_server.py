"""A server that speaks as much of the Kubeflow Pipelines API as kfp's own client needs to submit a run."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RUN_ID = "11111111-2222-3333-4444-555555555555"


class Server:
    """What the server knows and was told."""

    def __init__(self, token=None, states=()):
        self.token = token
        self.states = list(states)
        """Answers to looks at the run, in order: its state, and the state of each step; the last one stays."""
        self.submitted = []
        self.experiments = {}
        self.refusal = None
        """What a submission is refused with; None takes it."""
        self.broken = 0
        """How many of the next looks at the run fail."""

    def answer(self, method, path, body):
        """Return status and content for a request."""
        answers = {
            ("GET", "/apis/v2beta1/healthz"): lambda: (200, {"multi_user": False}),
            ("GET", "/apis/v2beta1/experiments"): lambda: (200, {"experiments": list(self.experiments.values())}),
            ("POST", "/apis/v2beta1/experiments"): lambda: self.create_experiment(body),
            ("POST", "/apis/v2beta1/runs"): lambda: self.create_run(body),
            ("GET", f"/apis/v2beta1/runs/{RUN_ID}"): self.get_run,
        }
        return answers.get((method, path), lambda: (404, {"message": f"no {method} {path}"}))()

    def create_experiment(self, body):
        name = body["display_name"]
        self.experiments[name] = {"experiment_id": f"id-of-{name}", **body}
        return 200, self.experiments[name]

    def create_run(self, body):
        if self.refusal:
            return 400, {"error": self.refusal, "code": 3, "message": self.refusal, "details": []}
        self.submitted.append(body)
        return 200, {"run_id": RUN_ID, "display_name": body["display_name"], "state": "PENDING"}

    def get_run(self):
        if self.broken:
            self.broken -= 1
            return 503, {"message": "upstream is away"}
        state, steps = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        details = [{"display_name": name, "state": found} for name, found in steps]
        answer = {"run_id": RUN_ID, "state": state, "run_details": {"task_details": details}}
        if state == "FAILED":
            answer["error"] = {"code": 13, "message": "a step has failed"}
        return 200, answer


@contextmanager
def serve(server):
    """Give the address at which `server` answers."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if server.token and self.headers.get("authorization") != f"Bearer {server.token}":
                status, content = 401, {"message": "unauthenticated"}
            else:
                status, content = server.answer(self.command, unquote(urlsplit(self.path).path), body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = respond

        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
