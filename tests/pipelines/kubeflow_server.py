"""A server that speaks as much of the Kubeflow Pipelines API as submitting a run and following it need.

Made from their sources: Kubeflow Pipelines 2.17 (backend/src/apiserver: main.go, server/api_converter.go and
common/util/error.go; frontend/server/handlers/healthz.ts), oauth2-proxy 7 (oauthproxy.go), and the Istio and Dex
settings of Kubeflow's manifests (common/oauth2-proxy, common/dex).
"""

import json
import ssl
import threading
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RUN_ID = "11111111-2222-3333-4444-555555555555"
COOKIE = "oauth2_proxy_kubeflow"
SIGN_IN = "<!DOCTYPE html><html><title>Sign In</title><form action='/oauth2/start'><button>Sign in with Dex</button>"


class Server:
    """What the server knows and has received."""

    def __init__(self, token=None, states=(), tag="2.17.0", session=None):
        self.token = token
        """The bearer token that is accepted now; None asks for none."""
        self.session = session
        """The value of oauth2-proxy's cookie that is accepted now; None asks for none."""
        self.gate = "json"
        """What oauth2-proxy does without a session: `json` (api_routes), `page` (all other routes) or `redirect`;
        with `rbac` Istio lets nobody in."""
        self.states = list(states)
        """Answers to looks at the run, in order; the last one stays. Each is its state, and either the state of each
        step or an Argo workflow."""
        self.tag, self.multi_user, self.ready = tag, False, None
        """What healthz says; `ready` is not None where the UI answers for the API server."""
        self.seen = None
        """The look that the older API repeats: both read the same row of the database."""
        self.submitted = []
        self.experiments = {}
        self.namespaces = []
        """Where the experiments were looked for."""
        self.refusal = None
        """What a submission is refused with: a text, or status and JSON; None takes it."""
        self.broken = 0
        """How many of the next looks at the run fail."""
        self.forbidden = False
        """Whether the account has no rights in the namespace."""
        self.v1 = True
        """Whether there is the older API."""
        self.after_looks = {}
        """What happens before the look of this number."""
        self.looks = 0

    def answer(self, method, path, body):
        """Return status and content for a request."""
        answers = {
            ("GET", "/apis/v2beta1/healthz"): self.health,
            ("GET", "/apis/v2beta1/experiments"): lambda: (200, {"experiments": list(self.experiments.values())}),
            ("POST", "/apis/v2beta1/experiments"): lambda: self.create_experiment(body),
            ("POST", "/apis/v2beta1/runs"): lambda: self.create_run(body),
            ("GET", f"/apis/v2beta1/runs/{RUN_ID}"): self.get_run,
            ("GET", f"/apis/v1beta1/runs/{RUN_ID}"): self.get_workflow,
        }
        if self.forbidden and path != "/apis/v2beta1/healthz":
            user = "system:serviceaccount:team:default"
            said = f"Failed to list experiments: PermissionDenied: User '{user}' is not authorized"
            return 403, {"error": said, "code": 7, "message": said, "details": []}
        return answers.get((method, path), lambda: (404, {"message": f"no {method} {path}"}))()

    def health(self):
        if self.ready is None:
            return 200, {"commit_sha": "0", "tag_name": self.tag, "multi_user": self.multi_user}
        said = {"apiServerTagName": self.tag, "multi_user": self.multi_user} if self.ready else {}
        return 200, {"apiServerReady": self.ready, "frontendTagName": "2.17.0", **said}

    def create_experiment(self, body):
        name = body["display_name"]
        self.experiments[name] = {"experiment_id": f"id-of-{name}", **body}
        return 200, self.experiments[name]

    def create_run(self, body):
        if isinstance(self.refusal, tuple):
            return self.refusal
        if self.refusal:
            return 400, {"error": self.refusal, "code": 3, "message": self.refusal, "details": []}
        self.submitted.append(body)
        return 200, {"run_id": RUN_ID, "display_name": body["display_name"], "state": "PENDING"}

    def get_run(self):
        if self.broken:
            self.broken -= 1
            return 503, {"message": "upstream is away"}
        state, steps = self.seen = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(steps, dict):
            steps = [(n["displayName"], n["phase"].upper()) for n in steps["status"].get("nodes", {}).values()]
        details = [{"display_name": name, "state": found} for name, found in steps]
        answer = {"run_id": RUN_ID, "state": state, "run_details": {"task_details": details}}
        if state == "FAILED":
            answer["error"] = {"code": 13, "message": "a step has failed"}
        return 200, answer

    def get_workflow(self):
        if not self.v1 or not isinstance(self.seen[1], dict):
            return 404, {"error": "Not Found", "code": 5, "message": "Not Found", "details": []}
        manifest = json.dumps(self.seen[1])
        return 200, {"run": {"id": RUN_ID}, "pipeline_runtime": {"workflow_manifest": manifest}}

    def gateway(self, path, headers):
        """Return status, headers and content with which what guards the API answers instead of it, or None."""
        authorization = headers.get("authorization")
        if self.gate == "rbac":
            return 403, {"content-type": "text/plain"}, "RBAC: access denied"
        if self.token is not None:
            if authorization is None:
                return 401, {"content-type": "application/json"}, "{}"
            if authorization != f"Bearer {self.token}":
                return 401, {"content-type": "text/plain"}, "Jwt is expired"
        if self.session is not None and authorization is None:
            cookies = SimpleCookie(headers.get("cookie", ""))
            if COOKIE not in cookies or cookies[COOKIE].value != self.session:
                return {
                    "json": (401, {"content-type": "application/json"}, "{}"),
                    "page": (403, {"content-type": "text/html; charset=utf-8"}, SIGN_IN),
                    "redirect": (302, {"location": "/dex/auth?client_id=kubeflow-oidc-authservice"}, ""),
                }[self.gate]
        return None


@contextmanager
def serve(server, certificate=None):
    """Give the address at which `server` answers; with `certificate`, the files of one and its key, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            split = urlsplit(self.path)
            if split.path == f"/apis/v2beta1/runs/{RUN_ID}":
                server.looks += 1
                server.after_looks.pop(server.looks, lambda: None)()
            if split.path.endswith("/experiments") and self.command == "GET":
                server.namespaces.append(split.query)
            guarded = server.gateway(split.path, self.headers)
            if guarded is None:
                status, content = server.answer(self.command, unquote(split.path), body)
                guarded = status, {"content-type": "application/json"}, json.dumps(content)
            status, headers, text = guarded
            data = text.encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = respond

        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificate))
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
