#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Times our dump beside QEMU's dump-guest-memory of the same guest to the same
file system, in one run, and prints a table. Ours goes first: QEMU's populates
the RAM that it reads. Exit status 1 when a bar is missed. BENCH_DIR says where the
dumps go.
"""

import os
import sys
import time

import bench
import harness

MEGABYTES = 2048
CHUNK = 1 << 20
RSS_BAR_KIB = 32 * 1024
# What part of its RAM a guest has touched, and what part of QEMU's time ours may take.
CASES = [('10% touched', 0.1, 0.3), ('all touched, random', 1.0, 0.8)]


def touch(qemu, part):
    """Fills the first part of the RAM above the firmware's with random bytes, from outside."""
    for i in range(int((MEGABYTES - 1) * part)):
        bench.fill(qemu, CHUNK + i * CHUNK, os.urandom(CHUNK))


def time_ours(qemu, path):
    """Seconds, and the largest resident set of our processes in KiB."""
    start = time.monotonic()
    pid = os.posix_spawn(harness.SERVER, [harness.SERVER, 'dump', '-q', '--attach', str(qemu.pid), path], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit('our dump failed with status %d' % status)
    return time.monotonic() - start, usage.ru_maxrss


def time_qemu(qemu, path):
    start = time.monotonic()
    qemu.dump(path)
    return time.monotonic() - start


def settle(path):
    """What was written must not be written back in the other's time."""
    size = os.path.getsize(path)
    used = os.stat(path).st_blocks * 512
    os.unlink(path)
    os.sync()
    return size, used


def run(directory, part):
    ours, theirs, rss = [], [], 0
    qemu = harness.Qemu(megabytes=MEGABYTES)
    try:
        qemu.wait_for_firmware()
        qemu.stop()
        touch(qemu, part)
        path = os.path.join(directory, 'core')
        for _ in range(bench.REPEATS):
            seconds, kib = time_ours(qemu, path)
            ours.append(seconds)
            rss = max(rss, kib)
            our_size = settle(path)
        for _ in range(bench.REPEATS):
            theirs.append(time_qemu(qemu, path))
            their_size = settle(path)
    finally:
        qemu.close()
    return min(ours), min(theirs), rss, our_size, their_size


def main():
    harness.require_kvm()
    directory = bench.directory()
    table = bench.Table('dump of a %d MiB guest to %s' % (MEGABYTES, directory),
                        '%-22s %9s %9s %7s %6s %11s %14s %14s', 'guest', 'ours s', 'QEMU s', 'ratio', 'bar', 'RSS KiB',
                        'ours on disk', 'QEMU on disk')
    for name, part, bar in CASES:
        ours, theirs, rss, our_size, their_size = run(directory, part)
        table.row(ours <= bar * theirs and rss < RSS_BAR_KIB, name, '%.2f' % ours, '%.2f' % theirs,
                  '%.2f' % (ours / theirs), '%.2f' % bar, rss, our_size[1], their_size[1])
    return table.missed


if __name__ == '__main__':
    sys.exit(main())
