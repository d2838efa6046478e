"""Processor time and memory of a group of processes."""

import subprocess
import unittest

from harness import group

BURN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"


class Groups(unittest.TestCase):
    def setUp(self):
        self.group = group.Group("test")
        self.addCleanup(self.group.close)

    def test_children_that_have_ended_are_counted(self):
        script = f'for n in 1 2; do python3 -c "{BURN}"; done; echo; read wait'
        process = subprocess.Popen(self.group.wrap(["sh", "-c", script]), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.group.roots = [process.pid]
        process.stdout.readline()
        spent = self.group.cpu_seconds()
        self.assertGreater(spent, 0.35)
        self.assertIn(process.pid, self.group.pids())
        self.assertGreater(group.memory(self.group.pids())["anonymous"], 0)
        process.communicate(b"\n")

    def test_what_is_left_is_ended(self):
        process = subprocess.Popen(self.group.wrap(["sleep", "60"]))
        self.group.roots = [process.pid]
        if not self.group.folder:
            process.kill()
        while self.group.folder and process.pid not in self.group.pids():
            pass
        self.group.close()
        self.assertNotEqual(process.wait(10), 0)

    def test_going_to_sleep_is_counted(self):
        process = subprocess.Popen(["python3", "-c", "import time\nfor n in range(50): time.sleep(0.001)\nprint(flush=True)\ninput()"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdout.readline()
        self.assertGreaterEqual(group.wakes([process.pid]), 50)
        process.communicate(b"\n")
