"""Run programs in forks of one process that has imported the large libraries, so that no program waits for them.

    python server.py ADDRESS LIBRARY...

It imports the libraries that are installed, and nothing of this project: each program imports the code that its own
path names. The server ends, with what it runs, when its standard input is closed. A program ends with the process
that stands for it.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import tempfile
import threading
import traceback
import types
import warnings
from contextlib import suppress
from pathlib import Path

READ_AT_IMPORT = ("CUDA_", "GOMP_", "KMP_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHONHASHSEED", "TORCH_")
"""Beginnings of the variables that libraries read once: a program with others than the server's runs elsewhere."""


SET_BY_SKLEARN = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
"""Variables that sklearn's import sets, in whichever process imports it first."""


def fixed(environment):
    """Return the variables of `environment` that a fork could not change."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_IMPORT) and name not in SET_BY_SKLEARN
    }


def receive(connection):
    """Return what a client wants to run, and its standard streams."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    (length,) = struct.unpack("=q", size)
    return json.loads(connection.recv(length, socket.MSG_WAITALL)), streams


class Server:
    """The running programs, by the descriptor that signals their end."""

    def __init__(self, address):
        self.fixed = fixed(os.environ)  # before the libraries are imported, which set some
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen(64)
        self.selector = selectors.DefaultSelector()
        self.running = {}

    def serve(self):
        """Run what clients send; return in a fork with the program that it is to run, and None at the end."""
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(0, selectors.EVENT_READ, None)
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    for process, _ in self.running.values():
                        self.kill(process)
                    return None
                program = key.data(key.fileobj)
                if program is not None:
                    return program

    def accept(self, listener):
        connection, _ = listener.accept()
        try:
            program, streams = receive(connection)
        except (OSError, ValueError, struct.error):  # the client was killed meanwhile
            connection.close()
            return None
        if fixed(program["environment"]) != self.fixed:
            connection.sendall(struct.pack("=q", 0))
            connection.close()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the libraries' own threads do not matter here
                process = os.fork()
            if process == 0:
                os.setpgid(0, 0)
                self.leave(connection)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                return program
            connection.sendall(struct.pack("=q", process))
            handle = os.pidfd_open(process)
            self.running[handle] = process, connection
            self.selector.register(handle, selectors.EVENT_READ, self.ended)
            self.selector.register(connection, selectors.EVENT_READ, self.abandoned)
        for stream in streams:
            os.close(stream)
        return None

    def leave(self, connection):
        """Close in a fork what is the server's."""
        self.selector.close()
        self.listener.close()
        connection.close()
        for handle, (_, other) in self.running.items():
            os.close(handle)
            other.close()

    def ended(self, handle):
        process, connection = self.running.pop(handle)
        self.selector.unregister(handle)
        with suppress(KeyError):
            self.selector.unregister(connection)
        os.close(handle)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with suppress(OSError):
            connection.sendall(struct.pack("=q", status))
        connection.close()

    def abandoned(self, connection):
        """End a program whose client is gone."""
        self.selector.unregister(connection)
        self.kill(next(process for process, other in self.running.values() if other is connection))

    def kill(self, process):
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


def forget_kfp():
    """Have kfp imported again: with _KFP_RUNTIME a step has less of it, and must do with that."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "kfp" and not name.startswith("kfp.pipeline_spec"):
            del sys.modules[name]


def run(program):
    """Run a client's program in this fork as if Python had been started for it."""
    os.chdir(program["folder"])
    os.environ.clear()
    os.environ.update(program["environment"])
    tempfile.tempdir = None  # a library asked for it with the server's variables
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=unbuffered)
    kind, name = program["kind"], program["name"]
    first = {"code": "", "module": program["folder"], "script": str(Path(name).parent)}
    sys.path[:] = [first[kind], *program["path"]]
    sys.argv[:] = ["-c" if kind == "code" else name, *program["arguments"]]
    sys.path_importer_cache.clear()
    if kind == "code":
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(name, "<string>", "exec"), vars(sys.modules["__main__"]))
    elif kind == "module":
        if os.environ.get("_KFP_RUNTIME") == "true":
            forget_kfp()
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(name, run_name="__main__")


def end_as(program):
    """Run a client's program and end without taking the libraries apart, as the forks of multiprocessing do."""
    status = 1
    try:
        run(program)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if not isinstance(ended.code, int | None):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)


def main():
    """Serve with the command line's libraries at its address."""
    server = Server(sys.argv[1])
    for library in sys.argv[2:]:
        with suppress(ModuleNotFoundError):
            importlib.import_module(library)
    gc.collect()
    gc.freeze()
    program = server.serve()
    if program is not None:
        end_as(program)
    Path(sys.argv[1]).unlink()
    Path(sys.argv[1]).parent.rmdir()


main()
