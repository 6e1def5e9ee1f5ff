#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Times gdb with us beside the same gdb with QEMU's own stub, on the same guest and in
turns, and prints a table: dumps of memory, small reads, single steps. Exit status 1
when a bar is missed. Bytes without any order are shown and have no bar: gdb takes
its time for each digit, whoever sends it.
"""

import contextlib
import json
import os
import re
import subprocess
import sys

import bench
import guests
import harness

DUMP_BYTES = 64 << 20
READS = 2000
STEPS = 1000
GDB_SECONDS = 300
STUB = "QEMU's stub"

# By what factor we are faster than QEMU's stub, at least; None: it is only shown.
BARS = {'dump': 3.0, 'random': None, 'reads': 1.0, 'steps': None}
MIB_PER_S = DUMP_BYTES / (1 << 20), 'MiB/s'
AMOUNTS = {'dump': MIB_PER_S, 'random': MIB_PER_S, 'reads': (READS, 'reads/s'), 'steps': (STEPS, 'steps/s')}

# For gdb's own Python: what a script of a user does.
SCRIPT = '''
import json, random, time
where, dumps, size, reads, steps, out = %r
inferior, choice = gdb.selected_inferior(), random.Random(1)
def dump(start):
    gdb.execute('dump binary memory %%s %%d %%d' %% (out, start, start + size))
def read():
    for _ in range(reads):
        inferior.read_memory(dumps['dump'] + choice.randrange(size - 8), 8)
def timed(fn, *args):
    before = time.monotonic()
    fn(*args)
    return time.monotonic() - before
gdb.execute('target remote ' + where)
taken = {what: timed(dump, start) for what, start in dumps.items()}
taken['reads'] = timed(read)
taken['steps'] = timed(gdb.execute, 'stepi %%d' %% steps, False, True)
gdb.execute('detach')
print('TAKEN ' + json.dumps(taken))
'''


def run_gdb(where, dumps):
    """Seconds that each part took."""
    out, script = (os.path.join(bench.directory(), name) for name in ('memory', 'script.py'))
    with open(script, 'w') as f:
        f.write(SCRIPT % ((where, dumps, DUMP_BYTES, READS, STEPS, out),))
    done = subprocess.run(['gdb', '--batch', '-nx', '-iex', 'set debuginfod enabled off', '-x', script],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=harness.patience(GDB_SECONDS), text=True)
    taken = re.search(r'^TAKEN (.*)', done.stdout, re.M)
    if not taken or os.path.getsize(out) != DUMP_BYTES:
        sys.exit('gdb with %s: %s' % (where, done.stdout))
    os.unlink(out)
    os.unlink(script)
    return json.loads(taken.group(1))


def with_stub(guest, dumps):
    path = guest.path('stub')
    guest.hmp('gdbserver unix:%s,server=on,wait=off' % path)
    try:
        return run_gdb(path, dumps)
    finally:
        guest.hmp('gdbserver none')


def with_us(*target):
    """Over a socket too: of a pipe's bytes each costs gdb a system call."""
    def run(guest, dumps):
        path = guest.path('ours')
        with subprocess.Popen([harness.SERVER, 'unix:' + path, '--once', *target], stderr=subprocess.PIPE,
                              text=True) as server:
            try:
                said = server.stderr.readline()
                if not said.startswith('Listening on '):
                    sys.exit(said)
                return run_gdb(path, dumps)
            finally:
                server.terminate()
    return run


def compare(table, guest, dumps, ways):
    """dumps: where in memory each of them starts. ways: how we are used, by what a row calls it."""
    times = {way: [] for way in (STUB, *ways)}
    for _ in range(bench.REPEATS):
        for way, run in {STUB: with_stub, **ways}.items():
            times[way].append(run(guest, dumps))
    best = {way: {part: min(t[part] for t in taken) for part in taken[0]} for way, taken in times.items()}
    for way in ways:
        for part, theirs in best[STUB].items():
            add_row(table, (guest.bench_name, way, part), best[way][part], theirs)


def add_row(table, names, ours, theirs):
    bar, (amount, unit) = BARS[names[-1]], AMOUNTS[names[-1]]
    ratio = theirs / ours
    table.row(bar is None or ratio >= bar, *names, '%.0f' % (amount / ours), '%.0f' % (amount / theirs), unit,
              '%.2f' % ratio, '-' if bar is None else '%.2f' % bar)


class Spinner(harness.Qemu):
    """Its vCPU jumps to where it is, so that a step waits for nothing. 64 MiB of its RAM are random bytes."""

    bench_name = 'firmware, KVM'
    JUMP_TO_ITSELF = b'\xeb\xfe'
    RANDOM, UNTOUCHED = 1 << 20, 128 << 20

    def __init__(self):
        super().__init__()
        self.wait_for_firmware()
        self.stop()
        registers = self.hmp('info registers')
        base, pc = (int(re.search(p, registers).group(1), 16) for p in (r'CS =\S+ (\S+)', r'[ER]IP=(\S+)'))
        bench.fill(self, base + pc, self.JUMP_TO_ITSELF)
        bench.fill(self, self.RANDOM, os.urandom(DUMP_BYTES))
        self.cont()

    @property
    def qmp_path(self):
        return self.path('qmp')

    def arguments(self):
        return [*super().arguments(), '-qmp', 'unix:%s,server=on,wait=off' % self.qmp_path]


class Linux(guests.Linux):
    """Processes keep its vCPUs busy. Nearly all of its RAM is in one place of the kernel's virtual memory."""

    bench_name = 'Linux, TCG'

    def __init__(self):
        super().__init__('amd64', append='spin=2')

    @property
    def start(self):
        return int.from_bytes(self.memsave(self.symbols['page_offset_base'], 8), 'little') + (16 << 20)


def main():
    harness.require_kvm()
    table = bench.Table('gdb with us and with the stub of QEMU', '%-14s %-9s %-7s %9s %9s %-8s %7s %6s',
                        'guest', 'by', 'what', 'ours', "QEMU's", '', 'ratio', 'bar')
    with contextlib.closing(Spinner()) as guest:
        compare(table, guest, {'dump': guest.UNTOUCHED, 'random': guest.RANDOM}, {
            '--attach': with_us('--attach', str(guest.pid)),
            '--qmp': with_us('--qmp', guest.qmp_path),
        })
    with contextlib.closing(Linux()) as guest:
        compare(table, guest, {'dump': guest.start}, {'--qmp': with_us('--qmp', guest.qmp_path)})
    return table.missed


if __name__ == '__main__':
    sys.exit(main())
