"""A TCP proxy that fails on command: it refuses, stalls, or cuts connections off."""

import selectors
import socket
import struct
import threading
import time

CHUNK = 1 << 16


class Proxy:
    """Passes what comes to `address` on to `target` (host, port); use as a context manager.

    After `refuse` nobody listens; after `stall` connections are taken and nothing is ever answered; after
    `cut(bytes)` each connection is reset as soon as so many bytes of it have come from the server, or, with
    `sent=True`, from the client. `times` limits the cuts. `work` makes it work again.
    """

    def __init__(self, target):
        self.target = target
        self.lock = threading.Lock()
        self.listener = self._listen(0)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.state, self.limit, self.of_sent, self.cuts_left = "work", 0, False, 0
        self.cuts = self.connections = 0
        self.open = set()
        self.ended = False
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ended = True
        self._close_listener()
        self._drop_all()
        self.thread.join(5)

    def work(self):
        self._change("work")

    def refuse(self):
        self._change("refuse")

    def stall(self):
        """Connections that are open stay so, and get no answer any more."""
        with self.lock:
            self.state = "stall"

    def cut(self, after, sent=False, times=10**9):
        self.limit, self.of_sent, self.cuts_left = after, sent, times
        self._change("cut")

    def _change(self, state):
        with self.lock:
            self.state = state
        self._drop_all()
        if state == "refuse":
            self._close_listener()
        elif self.listener is None:
            self.listener = self._listen(self.port)

    def _listen(self, port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        listener.settimeout(0.05)
        return listener

    def _close_listener(self):
        with self.lock:
            if self.listener is not None:
                self.listener.close()
                self.listener = None

    def _drop_all(self):
        with self.lock:
            connections = list(self.open)
        for connection in connections:
            reset(connection)

    def _accept(self):
        while not self.ended:
            listener = self.listener
            try:
                if listener is None:
                    raise OSError
                client, _ = listener.accept()
            except OSError:
                time.sleep(0.01)
                continue
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with self.lock:
            late = self.state == "refuse"  # it was accepted just before, and `_drop_all` did not see it
            if not late:
                self.open.add(client)
        if late:
            reset(client)
            return
        server = None
        try:
            server = socket.create_connection(self.target, 5)
            self._pass_on(client, server)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(client)
            for connection in (client, server):
                if connection is not None:
                    connection.close()

    def _pass_on(self, client, server):
        counts = {client: 0, server: 0}
        with selectors.DefaultSelector() as selector:
            for connection in counts:
                selector.register(connection, selectors.EVENT_READ)
            while not self.ended:
                if self.state == "stall":
                    if client.fileno() < 0:
                        return
                    time.sleep(0.01)
                    continue
                for key, _ in selector.select(0.05):
                    source = key.fileobj
                    content = source.recv(CHUNK)
                    if not content:
                        return
                    other = server if source is client else client
                    if self.state == "stall":
                        break  # it is lost
                    if self._is_cut(source is client, counts[source] + len(content)):
                        keep = max(0, self.limit - counts[source])
                        other.sendall(content[:keep])
                        reset(client)
                        return
                    counts[source] += len(content)
                    other.sendall(content)

    def _is_cut(self, from_client, count):
        with self.lock:
            if self.state != "cut" or from_client != self.of_sent or count < self.limit or self.cuts_left == 0:
                return False
            self.cuts_left -= 1
            self.cuts += 1
            return True


def reset(connection):
    """Close a connection so that its other end sees an error, not an end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
