"""Disks to be broken: a file system in a file, which can be cut off as by a power failure; one in memory."""

import fcntl
import os
import struct
import subprocess
import time

from harness.stage import Failed, Skipped, end, need

# FS_IOC_SHUTDOWN of linux/fs.h, and how: the journal is flushed first, or not.
SHUTDOWN = 0x8004587D
LOGFLUSH, NOLOGFLUSH = 1, 2

MAKE = {"ext4": ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"], "xfs": ["-q", "-f"]}


class Disk:
    """A mounted file system of its own. The kernel's loop driver makes a disk of a file."""

    def __init__(self, stage, system, mebibytes, name="disk"):
        if os.geteuid() != 0:
            raise Skipped("mounting needs root")
        self.stage, self.system = stage, system
        self.image, self.folder = stage.path(f"{name}.image"), stage.path(name)
        self.folder.mkdir()
        if system == "tmpfs":
            self.command = [need("mount"), "-t", "tmpfs", "-o", f"size={mebibytes}m", "staffetta-crash", self.folder]
        else:
            with open(self.image, "wb") as image:
                image.truncate(mebibytes << 20)
            self.do(need(f"mkfs.{system}"), *MAKE[system], self.image)
            self.command = [need("mount"), "-t", system, "-o", "loop", self.image, self.folder]
        self.mounted = False
        stage.closers.append(self.close)
        self.mount()

    def do(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{command[0]} failed: {done.stderr.strip()}")

    def mount(self):
        self.do(*self.command)
        self.mounted = True

    def cut(self, how=NOLOGFLUSH):
        """From now on nothing reaches the disk, and what is only in memory is lost: a power cut, as far as it goes."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", how))
        except OSError as error:
            raise Skipped(f"{self.system} of this kernel cannot be shut down: {error}") from None
        finally:
            os.close(handle)

    def unmount(self):
        # The kernel may still be closing the files of an engine that was just killed.
        for _ in range(100):
            done = subprocess.run([need("umount"), str(self.folder)], capture_output=True, text=True)
            if done.returncode == 0:
                self.mounted = False
                return
            time.sleep(0.1)
        raise Failed(f"{self.folder} cannot be unmounted: {done.stderr.strip()}")

    def free(self):
        """Bytes that are free."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def close(self):
        for process in self.stage.processes:
            end(process)
        if self.mounted:
            self.unmount()


class FaultDisk:
    """A folder behind a FUSE program that fails operations as its rules say (README.md tells what it must be able to)."""

    def __init__(self, stage, program, name="faulty"):
        if not program:
            raise Skipped("no FUSE program that makes faults: name it by --faultfs or FAULTFS")
        if not os.path.exists("/dev/fuse"):
            raise Skipped("/dev/fuse is not there")
        self.stage = stage
        self.backing, self.folder, self.rules = stage.path(f"{name}.backing"), stage.path(name), stage.path(f"{name}.rules")
        self.backing.mkdir()
        self.folder.mkdir()
        self.rules.write_text("")
        self.began = 0
        self.process = stage.spawn([program, self.backing, self.folder, "-f"], env={**os.environ, "FAULTFS_RULES": str(self.rules)},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        stage.closers.append(self.close)
        stage.wait("the FUSE file system", self.there, 10)

    def there(self):
        if self.process.poll() is not None:
            raise Skipped(f"the FUSE program ended: {self.process.stderr.read().decode(errors='replace').strip()}")
        return os.path.ismount(self.folder)

    def obey(self, *rules):
        """From now on these rules hold, and no others. The file is replaced at once, and its size tells it from the last."""
        self.began += 1
        new = self.rules.with_suffix(".new")
        new.write_text("".join(f"{rule}\n" for rule in rules) + "#" * self.began + "\n")
        os.replace(new, self.rules)

    def close(self):
        for process in self.stage.processes:
            if process is not self.process:
                end(process)
        if os.path.ismount(self.folder):
            done = subprocess.run([need("umount"), "-l", str(self.folder)], capture_output=True, text=True)
            if done.returncode:
                subprocess.run([need("fusermount3"), "-u", "-z", str(self.folder)], capture_output=True)
        end(self.process)
