"""What a run has begun is gone at its end, and every measurement still finds what it stands on."""

import pathlib
import subprocess
import sys
import unittest

from harness import stage
from harness.place import Place, stop

PERF = pathlib.Path(__file__).resolve().parents[2]


class Places(unittest.TestCase):
    def test_directory_and_processes_end_with_the_run(self):
        with Place("staffetta-test-") as place:
            process = place.begin(["sh", "-c", "echo trouble >&2; echo ready; exec sleep 60"], "it.log", stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.assertEqual((place.dir / "it.log").read_text(), "trouble\n")
        self.assertLess(process.returncode, 0)
        self.assertFalse(place.dir.exists())

    def test_who_is_stopped_says_its_last_words(self):
        with Place("staffetta-test-") as place:
            script = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done"
            process = place.begin(["sh", "-c", script], "it.log", stdout=subprocess.PIPE)
            process.stdout.readline()
            self.assertEqual(stop(process), "bye\n")

    def test_measurements_tell_how_they_are_used(self):
        for script in ("run", "spool.py", "brain/real.py"):
            done = subprocess.run([sys.executable, PERF / script, "--help"], cwd=stage.ROOT, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout[:6]), (0, "usage:"), done.stderr)


if __name__ == "__main__":
    unittest.main()
