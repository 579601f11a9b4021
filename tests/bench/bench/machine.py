# SPDX-License-Identifier: MIT
"""Processes pinned to a CPU, their CPU time to the nanosecond, free ports, the load generators built from C; and ending only
what was started here."""
import contextlib
import os
import pathlib
import resource
import socket
import subprocess
import time

CPUS = sorted(os.sched_getaffinity(0))
LOAD_CPU = CPUS[0]  # the load generator and the upstream
PROXY_CPU = CPUS[-1]  # the proxy under test, alone


def build_load(folder, name):
    """Compiles tests/bench/<name>.c and what the load generators share; the program's path."""
    sources = [str(pathlib.Path(__file__).parent.parent / source) for source in (f"{name}.c", "load.c")]
    program = str(folder / name)
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program, *sources, "-lm"], check=True)
    return program


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} does not listen on {port}")


def cpu_seconds_of(pids):
    """Of all threads of these processes: schedstat counts nanoseconds."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
            except FileNotFoundError:
                pass  # the thread has just ended
    return total / 1e9


class Process:
    """A program on one CPU, with all its children, in a session of its own or in the bench's."""

    def __init__(self, arguments, cpu, port, environment=None, is_own_session=True):
        self.process = subprocess.Popen(
            ["taskset", "-c", str(cpu), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})}, start_new_session=is_own_session)
        self.cpu, self.port = cpu, port
        wait_for_port(port, self.process)

    @property
    def pid(self):
        return self.process.pid

    def pids(self):
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in os.listdir(f"/proc/{pid}/task"):
                try:
                    with open(f"/proc/{pid}/task/{task}/children") as f:
                        queue += [int(child) for child in f.read().split()]
                except FileNotFoundError:
                    pass  # the thread has just ended
        return found

    def cpu_seconds(self):
        return cpu_seconds_of(self.pids())

    def anonymous_bytes(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    if line.startswith("Anonymous:"):
                        total += int(line.split()[1]) * 1024
        return total

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def own_seconds(processes):
    """CPU time of this process, of the children that have ended (wrk), and of those that run."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(s.ru_utime + s.ru_stime for s in spent) + sum(process.cpu_seconds() for process in processes)


def idle_seconds():
    """Of all CPUs. Idle time is what the kernel counts exactly; busy time it samples."""
    with open("/proc/stat") as f:
        numbers = f.readline().split()
    return (int(numbers[4]) + int(numbers[5])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def cpu_share_of_others(processes):
    """Yields an object whose `share` is then how much of a CPU was used by what is not ours, interrupts included."""
    class Others:
        share = 0.0
    others = Others()
    began, idle, own = time.monotonic(), idle_seconds(), own_seconds(processes)
    yield others
    elapsed = time.monotonic() - began
    busy = len(CPUS) * elapsed - (idle_seconds() - idle)
    others.share = max(0.0, (busy - (own_seconds(processes) - own)) / elapsed)


def set_realtime(pid):
    """Let nothing but the kernel come before a process and its threads; false without the right to."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True
