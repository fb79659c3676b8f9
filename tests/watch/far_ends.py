"""Far ends of alerts on loopback: a webhook's receiver with any manners, and a real SMTP server."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from http import client
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
HANG, DRIP = b"", b"..."


@dataclass
class Receiver:
    """`answers` are given in turn, the last one for ever; HANG never answers, DRIP sends a byte in 100 ms."""

    answers: list[bytes] = field(default_factory=lambda: [OK])
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    tls: ssl.SSLContext | None = None
    speaks_first: bool = False
    closing: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        while not self.closing.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self.speaks_first:
                self._drip(connection, b"220-")
            self._exchange(self.tls.wrap_socket(connection, server_side=True) if self.tls else connection)

    def _exchange(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            line = file.readline().decode("latin-1")
            headers = {k.lower(): v for k, v in client.parse_headers(file).items()}
            self.received.append((line.strip(), headers, file.read(int(headers.get("content-length", 0)))))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer == HANG:
                self.closing.wait()
            elif answer == DRIP:
                self._drip(connection, b"HTTP/1.1 200 OK\r\nX: ")
            else:
                connection.sendall(answer)

    def _drip(self, connection: socket.socket, start: bytes) -> None:
        connection.sendall(start)
        while not self.closing.wait(0.1):
            connection.sendall(b"y")


@contextmanager
def receiver(*answers: bytes, **manners: Any) -> Iterator[Receiver]:
    found = Receiver(list(answers) or [OK], **manners)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        found.url = f"http://127.0.0.1:{listener.getsockname()[1]}/in?key=1"
        thread = threading.Thread(target=found.serve, args=[listener])
        thread.start()
        yield found
        found.closing.set()
        thread.join()


class _Inbox(Message):
    def __init__(self) -> None:
        super().__init__(EmailMessage)
        self.messages: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.messages.append(message)


def certificate(host: str, file: Path) -> ssl.SSLContext:
    """A server's context for a certificate of that host, signed by itself; the certificate is in `file`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def smtp(port: int) -> Iterator[list[Any]]:
    """A mail server; the messages it took."""
    inbox = _Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield inbox.messages
    controller.stop()
