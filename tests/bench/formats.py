#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Times our dump in each format beside QEMU's own of the same stopped guest to the same file
system, and the pause of a snapshot, and prints tables. Ours goes first: QEMU's populates
the RAM that it reads. Exit status 1 when a bar is missed.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

import bench
import guests
import harness

MEGABYTES = 4096
CHUNK = 1 << 20
FIRMWARE_MEGABYTES = 16
TOUCHED_MEGABYTES = 200
RSS_BAR_KIB = 64 * 1024
PAUSES = 5
# The last copy's memory is given back by then.
SETTLE_SECONDS = 3
QEMU_SECONDS = 1800
ELF = 'elf'
FORMATS = ELF, 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'kdump-zstd'
# Letters of Debian's, which has no snappy and no zstd.
MAKEDUMPFILE = {'kdump-zlib': '-c', 'kdump-lzo': '-l'}
PR_SET_THP_DISABLE = 41

# By what factor we are faster than QEMU, at least.
BARS = {('idle', ELF): 10, ('random', ELF): 1.3, ('random', 'kdump-zlib'): 1.8, ('compressible', 'kdump-zlib'): 1.8}
# How much longer a dump of a guest with much more RAM may take, of which it has touched little.
SPARSE_BAR = 2.0
# Seconds that a guest may stand still for a snapshot of MEGABYTES, by the size of its pages.
PAUSE_BARS = {'4 KiB': 0.100, 'huge': 0.020}


def compressible(i):
    return b''.join(b'%08x: the quick brown fox jumps over the lazy dog %d\n' % (i * CHUNK + n, n * n)
                    for n in range(CHUNK // 48))[:CHUNK].ljust(CHUNK, b'\n')


FILLS = {'random': lambda i: os.urandom(CHUNK), 'compressible': compressible}


class Guest(harness.Qemu):
    def __init__(self, megabytes=MEGABYTES, fill=None, touched=0, running=False):
        """touched: how many MiB of its RAM are filled; it has its hole below 4 GiB."""
        super().__init__('-object', 'memory-backend-ram,id=ram,size=%dM,reserve=off' % megabytes,
                         '-machine', 'memory-backend=ram', megabytes=megabytes)
        # Before that it needs more of the RAM than it is left here.
        self.wait_for_nothing_to_do()
        self.stop()
        low = min(megabytes, 3072)
        # Firmware that goes on has itself at the end.
        places = [i * CHUNK for i in range(1, low - FIRMWARE_MEGABYTES)] + [(4 << 30) + i * CHUNK for i in range(megabytes - low)]
        hvas = {gpa: int(self.hmp('gpa2hva %#x' % gpa).split()[-1], 16) for gpa in (CHUNK, 4 << 30) if gpa in places}
        with open('/proc/%d/mem' % self.pid, 'r+b', buffering=0) as mem:
            for i, gpa in enumerate(places[:touched]):
                base = CHUNK if gpa < 4 << 30 else 4 << 30
                mem.seek(hvas[base] + gpa - base)
                mem.write(FILLS[fill](i))
        if running:
            self.cont()
            time.sleep(SETTLE_SECONDS)
            if not self.running():
                sys.exit('the guest does not run: %s' % self.qmp('query-status')['status'])

    def has(self, name):
        return name in self.qmp('query-dump-guest-memory-capability')['formats']

    def huge_kib(self):
        with open('/proc/%d/smaps_rollup' % self.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith('AnonHugePages:'))


class SmallPages(Guest):
    """Of 4 KiB, whatever the machine's setting is."""

    @property
    def program(self):
        path = os.path.join(bench.directory(), 'qemu-with-small-pages')
        with open(path, 'w') as f:
            f.write('#!%s\nimport ctypes, os, sys\nctypes.CDLL(None).prctl(%d, 1, 0, 0, 0)\n'
                    'os.execvp(%r, [%r, *sys.argv[1:]])\n' % (sys.executable, PR_SET_THP_DISABLE,
                                                              harness.QEMU, harness.QEMU))
        os.chmod(path, 0o700)
        return path


class Dump:
    """What one took and made; the file is gone, and nothing of it is left to be written back."""

    def __init__(self, seconds, path, rss_kib=0, pause=0):
        self.seconds, self.rss_kib, self.pause = seconds, rss_kib, pause
        self.bytes = os.stat(path).st_blocks * 512
        os.unlink(path)
        os.sync()


def ours(qemu, name, *options):
    path = os.path.join(bench.directory(), 'core')
    words = [harness.SERVER, 'dump', '-q', '--json', '--format', name, *options, '--attach', str(qemu.pid), path]
    start = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as proc:
        said = json.loads(proc.stdout.read())
        _, status, usage = os.wait4(proc.pid, 0)
        proc.returncode = os.waitstatus_to_exitcode(status)
    if proc.returncode:
        sys.exit('our dump failed: %s' % said)
    return Dump(time.monotonic() - start, path, usage.ru_maxrss, said['pause_seconds'])


def theirs(qemu, name):
    path = os.path.join(bench.directory(), 'core')
    qemu.socket.settimeout(QEMU_SECONDS)
    start = time.monotonic()
    qemu.qmp('dump-guest-memory', paging=False, protocol='file:' + path, **({} if name == ELF else {'format': name}))
    return Dump(time.monotonic() - start, path)


def best(make, repeats):
    return min((make() for _ in range(repeats)), key=lambda dump: dump.seconds)


def compare(table, label, qemu):
    """The ELF dump of ours, for comparison with another guest's."""
    mine = {name: best(lambda name=name: ours(qemu, name), bench.REPEATS if name == ELF else 1) for name in FORMATS}
    for name in FORMATS:
        its = best(lambda name=name: theirs(qemu, name), bench.REPEATS if name == ELF else 1) \
            if qemu.has(name) else None
        bar, mib = BARS.get((label, name)), 1 << 20
        ratio = its.seconds / mine[name].seconds if its else None
        ok = mine[name].rss_kib < RSS_BAR_KIB and (bar is None or ratio >= bar)
        table.row(ok, label, name, '%.2f' % mine[name].seconds, '%.2f' % its.seconds if its else '-',
                  '%.2f' % ratio if its else '-', bar or '-', '%.1f' % (mine[name].bytes / mib),
                  '%.1f' % (its.bytes / mib) if its else '-', mine[name].rss_kib)
    return mine


def sparse(table, label, megabytes, idle):
    """Only ours: QEMU's would populate it."""
    with contextlib.closing(Guest(megabytes, 'random', TOUCHED_MEGABYTES)) as qemu:
        for name in FORMATS:
            dump = best(lambda name=name: ours(qemu, name), bench.REPEATS)
            bar = SPARSE_BAR if name == ELF and label == '32 GiB' else None
            ratio = dump.seconds / idle.seconds
            table.row(dump.rss_kib < RSS_BAR_KIB and (bar is None or ratio <= bar), label, name, '%.2f' % dump.seconds,
                      '%.2f' % ratio, bar or '-', '%.1f' % (dump.bytes / (1 << 20)), dump.rss_kib)


def beside_makedumpfile(table):
    """Of a Linux guest, from one ELF vmcore: makedumpfile takes no other guest, and QEMU lacks its codecs."""
    core, out = (os.path.join(bench.directory(), name) for name in ('vmcore', 'out'))
    with contextlib.closing(guests.Linux('amd64', append='spin=2')) as guest:
        guest.stop()
        subprocess.run([harness.SERVER, 'dump', '-q', '--qmp', guest.qmp_path, core], check=True)
    for name, letter in MAKEDUMPFILE.items():
        def run(*words):
            start = time.monotonic()
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=True)
            return Dump(time.monotonic() - start, out)
        mine = best(lambda: run(harness.SERVER, 'dump', '-q', '--format', name, '--core', core, out), bench.REPEATS)
        its = best(lambda: run('makedumpfile', letter, '-d', '0', '--message-level', '0', core, out), bench.REPEATS)
        table.row(True, name, '%.2f' % mine.seconds, '%.2f' % its.seconds, '%.2f' % (its.seconds / mine.seconds),
                  '%.1f' % (mine.bytes / (1 << 20)), '%.1f' % (its.bytes / (1 << 20)))
    os.unlink(core)


def pauses(table, label, kind):
    with contextlib.closing(kind(fill='random', touched=MEGABYTES, running=True)) as qemu:
        huge = qemu.huge_kib() >> 10
        dumps = []
        for _ in range(PAUSES):
            time.sleep(SETTLE_SECONDS)
            dumps.append(ours(qemu, ELF, '--snapshot'))
        median = statistics.median(d.pause for d in dumps)
        bar = PAUSE_BARS[label]
        table.row(median < bar, label, '%d MiB' % huge, '%.1f' % (1000 * median), '%.0f' % (1000 * bar),
                  ' '.join('%.1f' % (1000 * d.pause) for d in dumps))


def main():
    harness.require_kvm()
    place = bench.directory()
    table = bench.Table('dumps of a %d MiB guest to %s' % (MEGABYTES, place),
                        '%-13s %-13s %8s %8s %7s %5s %12s %12s %9s', 'guest', 'format', 'ours s', 'QEMU s', 'ratio',
                        'bar', 'ours MiB', 'QEMU MiB', 'RSS KiB')
    with contextlib.closing(Guest()) as qemu:
        idle = ours(qemu, ELF)
        idle = min(idle, compare(table, 'idle', qemu)[ELF], key=lambda d: d.seconds)
    for label in FILLS:
        with contextlib.closing(Guest(fill=label, touched=MEGABYTES - 1)) as qemu:
            compare(table, label, qemu)
    more = bench.Table('dumps of guests that have touched %d MiB, beside that of an idle one of %d MiB' %
                       (TOUCHED_MEGABYTES, MEGABYTES), '%-13s %-13s %8s %7s %5s %12s %9s', 'RAM', 'format', 'ours s',
                       'ratio', 'bar', 'MiB', 'RSS KiB')
    for label, megabytes in ('32 GiB', 32 << 10), ('256 GiB', 256 << 10):
        sparse(more, label, megabytes, idle)
    beside_makedumpfile(bench.Table('conversions of the vmcore of a Linux guest, and by makedumpfile',
                                    '%-13s %8s %14s %7s %12s %12s', 'format', 'ours s', 'makedumpfile s', 'ratio',
                                    'ours MiB', 'its MiB'))
    still = bench.Table('the pause for a snapshot of %d MiB, private and touched; median of %d' % (MEGABYTES, PAUSES),
                        '%-8s %-12s %8s %6s  %s', 'pages', 'huge', 'ms', 'bar', 'each')
    pauses(still, '4 KiB', SmallPages)
    pauses(still, 'huge', Guest)
    return table.missed or more.missed or still.missed


if __name__ == '__main__':
    sys.exit(main())
