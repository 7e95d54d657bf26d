"""A signal ends a command within seconds, whatever its threads wait for, and nothing half-done is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_model import write_tiny_model

from monai_vggunet.errors import as_refusal
from monai_vggunet.stopping import CLEANING_SEC, GRACE_SEC, Stopped, stop_on_signals, told_to_stop

SLACK_SEC = 15.0  # for a machine that does much else
STARTED = "waiting"
# A thread that nothing wakes: no exception can be raised in it, and Python waits for it at its end.
STUCK_THREAD = """
def stuck(*_):
    print("waiting", flush=True)
    reading, _ = os.pipe()
    os.read(reading, 1)
"""
# A computation in a library, as of torch: the lock of the interpreter is free, but its main thread hears nothing.
LONG_COMPUTATION = """
def stuck(*_):
    print("waiting", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
"""
# A library that takes every exception for its own.
DEAF_LIBRARY = """
def stuck(*_):
    print("waiting", flush=True)
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def start(*parts: str) -> tuple[subprocess.Popen[str], str]:
    """Run a program in a process of its own, with signals as a shell leaves them, until it says that it waits.

    Returns the process, and what else it said in that line.
    """
    program = (
        "import hashlib, os, signal, sys, threading, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests themselves may run under nohup
    )
    program += "\n".join(textwrap.dedent(part) for part in parts)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(STARTED):
            return process, line.removeprefix(STARTED)
    raise AssertionError(process.communicate()[1])


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM, times: int = 1) -> tuple[int, str]:
    """Send a signal; return the exit status and what it said. It must be gone within seconds."""
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    try:
        _, said = process.communicate(timeout=GRACE_SEC + CLEANING_SEC + SLACK_SEC)
    finally:
        process.kill()
    return process.returncode, said


MAIN_WAITS = """
from monai_vggunet.cli.endings import run_to_its_end
run_to_its_end(stuck)
"""
THREAD_WAITS = """
from monai_vggunet.cli.endings import run_to_its_end
from concurrent.futures import ThreadPoolExecutor
def run():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(stuck).result()
run_to_its_end(run)
"""


@pytest.mark.parametrize(
    ("what", "where", "number"),
    [
        (STUCK_THREAD, MAIN_WAITS, signal.SIGTERM),
        (STUCK_THREAD, MAIN_WAITS, signal.SIGINT),
        (STUCK_THREAD, THREAD_WAITS, signal.SIGTERM),
        (LONG_COMPUTATION, MAIN_WAITS, signal.SIGHUP),
        (LONG_COMPUTATION, THREAD_WAITS, signal.SIGTERM),
        (DEAF_LIBRARY, MAIN_WAITS, signal.SIGINT),
    ],
    ids=["main_reads", "main_reads_ctrl_c", "thread_reads", "main_computes", "thread_computes", "main_is_deaf"],
)
def test_a_signal_ends_the_command_whatever_waits(what: str, where: str, number: int) -> None:
    process, _ = start(what, where)
    status, said = stop(process, number)
    assert status == 128 + number
    assert "Traceback" not in said


def test_a_second_signal_does_not_wait_for_an_end_in_order() -> None:
    patient = "import monai_vggunet.stopping; monai_vggunet.stopping.GRACE_SEC = 1000.0"
    process, _ = start(STUCK_THREAD, patient, THREAD_WAITS)
    assert stop(process, signal.SIGINT, times=2)[0] == 130


def test_a_signal_that_is_ignored_stays_so() -> None:
    process, _ = start("signal.signal(signal.SIGHUP, signal.SIG_IGN)", STUCK_THREAD, MAIN_WAITS)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
        process.wait(timeout=1)
    assert stop(process)[0] == 143


def test_a_forced_end_removes_what_must_not_stay(tmp_path: Path) -> None:
    """A half-written file, a folder of downloads, helper processes in the middle of something."""
    process, helpers = start(
        f"""
        import tempfile
        from monai_vggunet.atomic_files import atomic_path
        from monai_vggunet.cli.endings import run_to_its_end
        from monai_vggunet.dicom.parallel import spread
        from monai_vggunet.segment.pacs_studies import _temporary_folder

        tempfile.tempdir = {str(tmp_path)!r}
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from helper_tasks import nap

        def work():
            with _temporary_folder() as folder, atomic_path({str(tmp_path / "mask.nii.gz")!r}) as temporary:
                temporary.write_bytes(b"half")
                open(os.path.join(folder, "image.dcm"), "w").close()
                spread.spread_contained(nap, [1000.0, 1000.0], lambda *_: None, 2)

        def run():
            worker = threading.Thread(target=work)
            worker.start()
            while not any(helper.busy for helper in spread._all):
                time.sleep(0.01)
            print("waiting", *[helper.process.pid for helper in spread._all], flush=True)
            worker.join()

        run_to_its_end(run)
        """
    )
    assert helpers.split()
    assert len(list(tmp_path.iterdir())) == 2
    assert stop(process)[0] == 143
    assert not list(tmp_path.iterdir())
    assert not [pid for pid in helpers.split() if _is_running(int(pid))]


COMMAND = """
import monai_vggunet.{module} as module
module.{name} = stuck
sys.argv = ["monai-vggunet", *{words!r}]
from monai_vggunet.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("segment.segmenter", "load_weights"),
        ("segment.archive", "study_identity"),
        ("segment.archive", "study_record"),
    ],
    ids=["loading_the_model", "reading", "writing"],
)
def test_segment_ends_and_leaves_nothing_half_written(
    model: Path, volume: Path, tmp_path: Path, module: str, name: str
) -> None:
    words = ["segment", str(volume), "-o", str(tmp_path / "out"), "--model", str(model), "--engine", "torch"]
    process, _ = start(STUCK_THREAD, COMMAND.format(module=module, name=name, words=words))
    status, said = stop(process)
    assert status == 143
    assert "Traceback" not in said
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"names.json"}, "it is written, whole, when the run begins"


@pytest.mark.parametrize("outlives", [False, True], ids=["within", "outlives"])
def test_a_signal_to_child_processes_ends_them_alone(outlives: bool) -> None:
    """They would write it into their parent's pipe, which the parent took for one to itself."""
    program = f"""
import os, signal, time
from monai_vggunet.stopping import GRACE_SEC, stop_on_signals

children = []

def end_children():
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == {128 + signal.SIGTERM}
    time.sleep(GRACE_SEC + 1)

reading, writing = os.pipe()
with stop_on_signals():
    for _ in range(2):
        children.append(os.fork())
        if not children[-1]:
            os.write(writing, b"x")
            time.sleep(100)
        os.read(reading, 1)
    if not {outlives}:
        end_children()
if {outlives}:
    end_children()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_an_end_in_order_is_not_forced_because_a_child_holds_the_pipe() -> None:
    """A library forks without Python's knowledge, so that the pipe stays open when the run has ended."""
    program = """
import ctypes, os, signal, time
from monai_vggunet.stopping import GRACE_SEC, Stopped, stop_on_signals

signal.signal(signal.SIGINT, signal.default_int_handler)
libc = ctypes.CDLL(None)
try:
    with stop_on_signals():
        child = libc.fork()
        if not child:
            libc.sleep(20)
            libc._exit(0)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
except Stopped:
    time.sleep(GRACE_SEC + 1)
    os.kill(child, signal.SIGKILL)
    print("in order")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "in order\n"), done.stderr


def test_the_command_ends_while_it_imports_its_libraries(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)

class Stopping:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stopping())
"""
    )
    words = [sys.executable, "-m", "monai_vggunet", "--help"]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_segment_ends_in_the_middle_of_a_computation(model: Path, volume: Path, tmp_path: Path) -> None:
    words = ["segment", str(volume), "-o", str(tmp_path / "out"), "--model", str(model), "--engine", "torch"]
    program = COMMAND.format(module="segment.segmenter", name="Segmenter.compute", words=words)
    process, _ = start(LONG_COMPUTATION, program)
    assert stop(process, signal.SIGINT)[0] == 130


def test_inspect_ends_in_the_middle_of_a_large_folder(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / str(number)).write_bytes(bytes(128) + b"DICM")
    program = COMMAND.format(module="dicom.index", name="read_header", words=["inspect", str(tmp_path)])
    process, _ = start(STUCK_THREAD, program)
    status, said = stop(process)
    assert status == 143
    assert not said


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volume") / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((16, 16, 2), np.int16), np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


def test_signals_are_as_before_when_the_work_is_done() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with stop_on_signals():
            assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    while threading.active_count() > 1 and any(thread.name == "signals" for thread in threading.enumerate()):
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_other_threads_are_told_at_once() -> None:
    event = threading.Event()
    with pytest.raises(Stopped, match="143"), stop_on_signals(), told_to_stop(event):
        signal.raise_signal(signal.SIGTERM)
    assert event.is_set()


def test_a_thread_other_than_the_main_one_leaves_signals_alone() -> None:
    found = []

    def run() -> None:
        with stop_on_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("error", [Stopped(signal.SIGTERM), KeyboardInterrupt()])
def test_the_users_wish_is_no_failure_of_a_study(error: BaseException) -> None:
    with pytest.raises(type(error), match=r"^(143)?$"):
        as_refusal("a", error)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False
