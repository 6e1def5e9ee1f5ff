#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Times our dump beside QEMU's dump-guest-memory of the same guest to the same
file system, in one run, and prints a table. Ours goes first: QEMU's populates
the RAM that it reads. Exit status 1 when a bar is missed. BENCH_DIR says where the
dumps go.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'system'))
import harness

MEGABYTES = 2048
CHUNK = 1 << 20
RSS_BAR_KIB = 32 * 1024
REPEATS = 3
# What part of its RAM a guest has touched, and what part of QEMU's time ours may take.
CASES = [('10% touched', 0.1, 0.3), ('all touched, random', 1.0, 0.8)]


def touch(qemu, part):
    """Fills the first part of the RAM above the firmware's with random bytes, from outside."""
    hva = int(qemu.hmp('gpa2hva 0x100000').split()[-1], 16)
    chunks = int((MEGABYTES - 1) * part)
    with open('/proc/%d/mem' % qemu.pid, 'r+b', buffering=0) as mem:
        for i in range(chunks):
            mem.seek(hva + i * CHUNK)
            mem.write(os.urandom(CHUNK))


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
        for _ in range(REPEATS):
            seconds, kib = time_ours(qemu, path)
            ours.append(seconds)
            rss = max(rss, kib)
            our_size = settle(path)
        for _ in range(REPEATS):
            theirs.append(time_qemu(qemu, path))
            their_size = settle(path)
    finally:
        qemu.close()
    return min(ours), min(theirs), rss, our_size, their_size


def main():
    directory = os.environ.get('BENCH_DIR') or os.path.join(harness.BUILD, 'bench')
    os.makedirs(directory, exist_ok=True)
    harness.require_kvm()
    print('dump of a %d MiB guest to %s, best of %d' % (MEGABYTES, directory, REPEATS))
    form = '%-22s %9s %9s %7s %6s %11s %14s %14s'
    print(form % ('guest', 'ours s', 'QEMU s', 'ratio', 'bar', 'RSS KiB', 'ours on disk', 'QEMU on disk'))
    missed = False
    for name, part, bar in CASES:
        ours, theirs, rss, our_size, their_size = run(directory, part)
        ok = ours <= bar * theirs and rss < RSS_BAR_KIB
        missed = missed or not ok
        print(form % (name, '%.2f' % ours, '%.2f' % theirs, '%.2f' % (ours / theirs), '%.2f' % bar, rss,
                      our_size[1], their_size[1]) + ('' if ok else '  MISSED'), flush=True)
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
