#!/usr/bin/env python3
"""Parts: where an engine's processor time goes, from stacks folded by inferno-collapse-perf (`--all`), in percent."""

import collections
import sys

# The first that a stack holds counts, in this order; `_[k]` ends the frames of the kernel.
KERNEL = [
    ("TCP: sending, and the receiver's side of it", ["io_send_[k]", "sock_write_iter_[k]", "__sys_sendto_[k]"]),
    ("TCP: receiving", ["io_recv_[k]", "__sys_recvfrom_[k]"]),
    ("pages of the spool (mincore, madvise)", ["__x64_sys_mincore_[k]", "__x64_sys_madvise_[k]"]),
    ("writing to the spool (pwrite)", ["__x64_sys_pwrite64_[k]"]),
    ("epoll_wait", ["__x64_sys_epoll_wait_[k]", "do_epoll_wait_[k]"]),
    ("waking other threads, or itself (eventfd)", ["eventfd_write_[k]", "ksys_write_[k]"]),
    ("going to sleep and waking up", ["__schedule_[k]", "schedule_[k]", "finish_task_switch.isra.0_[k]"]),
    ("io_uring itself", ["__do_sys_io_uring_enter_[k]", "__x64_sys_io_uring_enter_[k]"]),
]
USER = [
    ("user: checksums", ["crc32c", "crc32_iscsi"]),
    ("user: copying", ["memmove", "memcpy"]),
    ("user: memory", ["mi_", "malloc"]),
    ("user: clock", ["clock_gettime", "Clock::now"]),
    ("user: signatures", ["dkim::ifma"]),
    ("user: SHA-256", ["sha256_block"]),
]


def part_of(stack):
    frames = stack.split(";")
    if frames[0].startswith("iou-wrk"):
        return "fdatasync (workers of io_uring)"
    if not frames[0].startswith("shard"):
        return f"thread {frames[0].rstrip('-0123456789')}"
    for name, marks in KERNEL:
        if any(frame in marks for frame in frames):
            return name
    if frames[-1].endswith("_[k]"):
        return "kernel: other"
    for name, marks in USER:
        if any(mark in frames[-1] for mark in marks):
            return name
    return "user: other"


def main():
    tables = []
    for path in sys.argv[1:]:
        counts = collections.Counter()
        with open(path) as file:
            for line in file:
                stack, count = line.rsplit(" ", 1)
                counts[part_of(stack)] += int(count)
        total = sum(counts.values())
        tables.append({name: 100 * count / total for name, count in counts.items()})
    names = sorted({name for table in tables for name in table}, key=lambda name: -tables[0].get(name, 0))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{table.get(name, 0):.1f}" for table in tables) + " |")


if __name__ == "__main__":
    main()
