"""A program in a fork of the tests' server does what it does in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fork_server
import pytest

pytestmark = pytest.mark.process


@pytest.fixture
def start(tmp_path):
    """Start Python with arguments in a fork; the server has no libraries, so it is there at once."""

    def start(*arguments, **variables):
        environment = os.environ | fork_server.variables(tmp_path, ()) | variables
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, *arguments], cwd=tmp_path, env=environment, text=True, **streams)

    return start


def ended(number):
    try:
        return "State:\tZ" in Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it may end between open and read
        return True


def wait_until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def test_it_has_its_own_arguments_folder_variables_streams_and_status(start, tmp_path):
    code = "import os, sys; print(os.getppid(), os.getcwd(), sys.argv, os.environ['GIVEN'], input()); sys.exit('no')"
    program = start("-c", code, "a", "b", GIVEN="yes")
    out, err = program.communicate("read")
    parent, shown = out.split(" ", 1)
    assert int(parent) not in (program.pid, os.getpid())  # it is a fork of the server
    assert shown == f"{tmp_path} ['-c', 'a', 'b'] yes read\n"
    assert (err, program.returncode) == ("no\n", 1)


@pytest.mark.parametrize(("code", "status"), [("pass", 0), ("raise SystemExit(7)", 7), ("1 / 0", 1)])
def test_its_exit_status_is_passed_on(code, status, start):
    program = start("-c", code)
    _, err = program.communicate()
    assert program.returncode == status
    assert ("ZeroDivisionError" in err) == ("/" in code)


def test_its_temporary_files_are_where_its_variables_say(start, tmp_path):
    code = "import tempfile; print(tempfile.gettempdir())"
    assert start("-c", code, TMPDIR=str(tmp_path)).communicate()[0] == f"{tmp_path}\n"


def test_it_imports_the_code_that_its_path_names(start, tmp_path):
    (tmp_path / "mine.py").write_text("print('mine')")
    assert start("-c", "import mine").communicate() == ("mine\n", "")
    (tmp_path / "bss").write_text("import sys, mine; print(__name__, sys.argv[1:], sys.path[0])")
    assert start(tmp_path / "bss", "show").communicate() == (f"mine\n__main__ ['show'] {tmp_path}\n", "")


def test_what_it_registers_for_its_end_and_its_threads_run(start):
    code = "import atexit, threading, time; atexit.register(print, 'end')\n"
    code += "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()"
    assert start("-c", code).communicate() == ("thread\nend\n", "")


def test_variables_that_libraries_read_once_have_it_run_in_its_own_process(start):
    program = start("-c", "import os; print(os.getpid())", OMP_NUM_THREADS="7")
    assert program.communicate()[0] == f"{program.pid}\n"


def test_variables_that_a_library_sets_leave_it_a_fork(tmp_path, monkeypatch):
    (tmp_path / "sets.py").write_text(
        "import os; os.environ['OMP_SET_BY_A_LIBRARY'] = os.environ['KMP_INIT_AT_FORK'] = '1'"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = [sys.executable, "-c", "import os, sys; print(os.getpid(), 'sets' in sys.modules)"]
    environment = os.environ | fork_server.variables(tmp_path, ("sets",)) | {"KMP_INIT_AT_FORK": "FALSE"}
    process = subprocess.Popen(program, env=environment, text=True, stdout=subprocess.PIPE)
    number, imported = process.communicate()[0].split()
    assert (int(number) != process.pid, imported) == (True, "True")


SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
CAUGHT = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); " + SLEEP


@pytest.mark.parametrize(("code", "status"), [(SLEEP, -signal.SIGTERM), (CAUGHT, 3)])
def test_a_signal_reaches_it(code, status, start):
    program = start("-c", code)
    program.stdout.readline()
    program.terminate()
    program.communicate(timeout=60)
    assert program.returncode == status


def test_it_ends_with_the_process_that_stands_for_it(start):
    program = start("-c", SLEEP)
    number = int(program.stdout.readline())
    assert not ended(number)
    program.kill()
    program.communicate()
    wait_until(lambda: ended(number))


def test_the_server_ends_with_the_process_that_started_it():
    code = "import os, fork_server; fork_server.start(()); print(fork_server.servers[0].pid, flush=True); os._exit(1)"
    folder = Path(fork_server.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    wait_until(lambda: ended(int(done.stdout)))
