# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: where files go, and a table whose rows meet a bar or miss it."""

import os
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True  # the modules are imported from the source tree
sys.path[:0] = [os.path.join(TESTS, 'system'), os.path.join(TESTS, 'linux')]
import harness

REPEATS = 3


def directory():
    """BENCH_DIR says where, so that it can be on another file system."""
    path = os.environ.get('BENCH_DIR') or os.path.join(harness.BUILD, 'bench')
    os.makedirs(path, exist_ok=True)
    return path


def fill(qemu, gpa, data):
    """Writes guest memory from outside, without the guest or a debugger."""
    hva = int(qemu.hmp('gpa2hva %#x' % gpa).split()[-1], 16)
    with open('/proc/%d/mem' % qemu.pid, 'r+b', buffering=0) as mem:
        mem.seek(hva)
        mem.write(data)


class Table:
    """form: of % for the head and for each row."""

    def __init__(self, title, form, *head):
        self.form, self.missed = form, False
        print('\n%s, best of %d' % (title, REPEATS))
        print(form % head, flush=True)

    def row(self, ok, *cells):
        self.missed = self.missed or not ok
        print(self.form % cells + ('' if ok else '  MISSED'), flush=True)
