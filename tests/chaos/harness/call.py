"""One execution of the plugin, as a container runtime executes it: CNI_* in the environment, configuration on stdin.

Input and output are files in memory, so that neither a full pipe nor a child that keeps one open can hold anybody up."""
import json
import os
import select
import signal
import subprocess
import time

TIMED_OUT = 124


class Call:
    """A plugin call under way, or ended."""

    def __init__(self, program, environment, conf):
        inputs, self._out, self._err = (os.memfd_create(name) for name in ("in", "out", "err"))
        os.write(inputs, json.dumps(conf).encode())
        os.lseek(inputs, 0, os.SEEK_SET)
        self.started, self.seconds, self.status, self.out, self.err = time.monotonic(), 0.0, None, b"", b""
        try:
            self.process = subprocess.Popen([program], stdin=inputs, stdout=self._out, stderr=self._err, env=environment, start_new_session=True)
        finally:
            os.close(inputs)
        self._pidfd = os.pidfd_open(self.process.pid)

    def wait(self, limit):
        """True when the process itself has ended within `limit` seconds; what it left behind is not waited for."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(0.0, limit) * 1000):
            return False
        self.seconds, self.status = time.monotonic() - self.started, self.process.wait()
        self.collect()
        return True

    def collect(self):
        """Read what was printed and let go of the files."""
        self.out, self.err = (os.pread(fd, 1 << 20, 0) for fd in (self._out, self._err))
        for fd in (self._out, self._err, self._pidfd):
            os.close(fd)

    def kill(self, number, group):
        """Signal the process, or its group; gone already is fine."""
        try:
            (os.killpg if group else os.kill)(self.process.pid, number)
        except ProcessLookupError:
            pass

    def finish(self, limit):
        """Wait; after `limit` seconds kill the group and say that the call timed out."""
        if not self.wait(limit):
            self.kill(signal.SIGKILL, True)
            self.wait(5)
            self.status, self.err = TIMED_OUT, f"no answer within {limit} s".encode()
        return self

    def answer(self):
        """The JSON object printed on stdout, or an empty one."""
        return parse_answer(self.out)

    def why(self):
        """Exit status and message in one line."""
        return explain(self.status, self.out, self.err)


def parse_answer(out):
    """A JSON object, or an empty one."""
    try:
        value = json.loads(out)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def explain(status, out, err):
    """Exit status and message in one line."""
    answer = parse_answer(out)
    said = " ".join(str(answer[key]) for key in ("msg", "details") if answer.get(key))
    return f"status {status}: " + (said or (out + err).decode(errors="replace").strip() or "no message")[-240:]
