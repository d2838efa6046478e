"""Where a run takes place: a directory of its own and the processes in it, all gone at its end."""

import pathlib
import shutil
import signal
import subprocess
import tempfile


class Place:
    """A temporary directory and the processes of one run."""

    def __init__(self, prefix, parent=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def begin(self, command, log, stdout=subprocess.DEVNULL, **more):
        """A process that ends with the run; what it complains of is in the file `log` of the directory."""
        with open(self.dir / log, "w") as complaints:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=complaints, text=True, **more)
        self.processes.append(process)
        return process


def stop(process, seconds=60):
    """Asks politely and gives what it printed last."""
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=seconds)
    return out
