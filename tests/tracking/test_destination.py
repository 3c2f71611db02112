"""What the messages say of a tracking server that gives no useful answer."""

import ipaddress
import ssl
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import free_port

from bss.tracking.destination import quiet_mlflow, unreachable


class Refusing(BaseHTTPRequestHandler):
    """Answers as MLflow's basic-auth app does: mlflow/server/auth/__init__.py, make_basic_auth_response (401) and
    make_forbidden_response (403)."""

    status = 401

    def do_POST(self):
        self.send_response(self.status)
        if self.status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="mlflow"')
        self.end_headers()
        self.wfile.write(b"You are not authenticated." if self.status == 401 else b"Permission denied")

    def log_message(self, *values):
        pass


@contextmanager
def serve(handler, certificate=None):
    server = HTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def own_certificate(tmp_path):
    """A file with a key and a certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    return path


def message(address):
    quiet_mlflow()
    with pytest.raises(mlflow.MlflowException) as caught:
        mlflow.MlflowClient(address).search_experiments()
    return str(unreachable(address, caught.value))


@pytest.fixture(autouse=True)
def no_retries(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.mark.process
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_called_so(monkeypatch, status):
    monkeypatch.setattr(Refusing, "status", status)
    with serve(Refusing) as address:
        text = message(address)
    assert text.startswith(f"MLflow at {address} rejects the credentials: ")
    assert "MLFLOW_TRACKING_PASSWORD" in text
    assert "Start the server" not in text


@pytest.mark.process
def test_a_certificate_that_is_not_trusted_is_called_so(own_certificate):
    with serve(Refusing, own_certificate) as address:
        text = message(address)
    assert text.startswith(f"MLflow at {address} fails TLS: ")
    assert "REQUESTS_CA_BUNDLE" in text
    assert "Start the server" not in text


@pytest.mark.process
def test_silence_is_called_so():
    address = f"http://127.0.0.1:{free_port()}"
    text = message(address)
    assert text.startswith(f"MLflow at {address} does not answer: ")
    assert "Start the server" in text
