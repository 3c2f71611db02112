"""Let the fork server of the tests run this interpreter's program, if it is one that the server takes.

Python imports this file as it starts, because `fork_server.variables` puts its folder on PYTHONPATH. This process then
stands for the program's: it passes signals on, and ends as the program does. Any other program runs here as usual.
"""

import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

MODULES = ("kfp.dsl.executor_main",)
SCRIPTS = ("bss", "dvc")
PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def find_program(words):
    """Return the kind, the name and the arguments of the program in a command line, or None if it runs here."""
    rest = [word for word in words[1:2] if word not in ("-u", "-B")] + words[2:]
    if rest[:1] == ["-m"] and rest[1:2] and rest[1] in MODULES:
        return {"kind": "module", "name": rest[1], "arguments": rest[2:]}
    if rest[:1] == ["-c"] and "multiprocessing" not in rest[1]:  # whose processes inherit more than the three streams
        return {"kind": "code", "name": rest[1], "arguments": rest[2:]}
    if rest and Path(rest[0]).name in SCRIPTS:
        return {"kind": "script", "name": rest[0], "arguments": rest[1:]}
    return None


def have_it_run(program, address):
    """Run the program in a fork of the server and end as it ends; return if the server does not take it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        request = {**program, "environment": dict(os.environ), "folder": str(Path.cwd()), "path": sys.path}
        text = json.dumps(request).encode()
        socket.send_fds(server, [struct.pack("=q", len(text))], [0, 1, 2])
        server.sendall(text)
        (process,) = struct.unpack("=q", server.recv(8, socket.MSG_WAITALL))
        if process == 0:
            return
        for number in PASSED_ON:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, frame: os.kill(process, number))
        ended = server.recv(8, socket.MSG_WAITALL)
    status = struct.unpack("=q", ended)[0] if ended else -signal.SIGKILL
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


ADDRESS = os.environ.get("BSS_FORK_SERVER")
if ADDRESS:
    found = find_program(sys.orig_argv)
    if found is not None:
        have_it_run(found, ADDRESS)
