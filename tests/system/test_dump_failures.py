# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of every format and mode that fail at any moment: nothing left behind, the guest running, the VMM unharmed."""

import os
import random
import resource
import signal
import subprocess
import time

import harness
import test_death
import test_snapshot

# What of it is how the name of the file ends.
FORMATS = ('elf', ''), ('elf', '.gz'), ('elf', '.zst'), ('kdump-zlib', ''), ('kdump-lzo', ''), ('kdump-snappy', ''), \
    ('kdump-zstd', '')
# The smallest of these files, of pages that are filled with one word each, is larger.
LEAST_BYTES = 64 << 10
OLD = b'precious'
ROUNDS = 3


class FailureTests:
    """OPTIONS of the test VMM, MODE of the dump."""

    OPTIONS = ()
    MODE = ()

    def setUp(self):
        super().setUp()
        self.random = random.Random(self.id())
        # Killed guardians may leave a call of the VMM's interrupted.
        self.target = self.stamping('--tolerate-eintr', *self.OPTIONS)
        self.look, self.flags = harness.Look(self.target.pid), test_snapshot.flags(self.target.pid)
        start = time.monotonic()
        self.check_ok(self.start('elf', self.path('whole')).end())
        self.seconds = time.monotonic() - start
        os.unlink(self.path('whole'))

    def start(self, name, out, **kw):
        return Dump(self, name, out, self.MODE, **kw)

    def stream(self, name, out, **kw):
        return self.start(name, out, options=() if name == 'elf' else ('--flatten',), **kw)

    def old_file(self, suffix):
        path = self.path('core' + suffix)
        with open(path, 'wb') as f:
            f.write(OLD)
        return path

    def check_as_before(self, path, *may_be_done):
        """may_be_done: whether the dump had come to its end before it could fail, and the old file is replaced."""
        self.check_nothing_left(self.target, self.look, self.flags, os.path.basename(path))
        with open(path, 'rb') as f:
            done = f.read(len(OLD)) != OLD
        self.assertIn(done, may_be_done)
        if done:
            self.assertGreater(os.stat(path).st_size, LEAST_BYTES, 'a whole one')
        os.unlink(path)

    def each(self, fail, streams=False):
        """streams: what has no name that could end in something."""
        for name, suffix in FORMATS * harness.times(ROUNDS):
            if not (streams and suffix):
                with self.subTest(format=name + suffix):
                    fail(name, suffix)

    def moment(self):
        time.sleep(self.random.uniform(0, self.seconds))

    def test_cancelled(self):
        def fail(name, suffix):
            path = self.old_file(suffix)
            dump = self.start(name, path)
            self.moment()
            dump.proc.send_signal(signal.SIGINT)
            result = dump.end()
            # In its very first moments nothing is in its hands, and it dies of it.
            if result.status not in (0, -signal.SIGINT):
                self.check_error(result, 1, 'cancelled')
            self.check_as_before(path, result.status == 0)
        self.each(fail)

    def test_killed(self):
        def fail(name, suffix):
            path = self.old_file(suffix)
            dump = self.start(name, path)
            test_death.kill_all(dump.proc, self.random, self.seconds)
            # The last thing it does is to give the new file its name.
            self.check_as_before(path, *([True] if dump.end().status == 0 else [False, True]))
        self.each(fail)

    def test_disk_full(self):
        """Through a descriptor, or the room would have been asked for first."""
        disk = harness.SmallDisk(self.path('disk'), 1 << 20)
        self.addCleanup(disk.close)

        def fail(name, _):
            path = os.path.join(disk.path, 'other')
            with open(path, 'wb') as f:
                f.truncate(0)
                disk.resize(self.random.randrange(1, LEAST_BYTES // 4096) * 4096)
                result = self.stream(name, 'fd:%d' % f.fileno(), pass_fds=[f.fileno()]).end()
            self.check_error(result, 1, 'No space left on device')
            os.unlink(path)
            self.assertEqual(os.listdir(disk.path), [])
            self.check_nothing_left(self.target, self.look, self.flags, 'disk')
        self.each(fail, streams=True)

    def test_over_the_limit(self):
        """What a quota says comes the same way, but never to root."""
        def fail(name, suffix):
            path = self.old_file(suffix)
            limit = self.random.randrange(4096, LEAST_BYTES)
            dump = self.start(name, path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            self.check_error(dump.end(), 1, 'File too large')
            self.check_as_before(path, False)
        self.each(fail)

    def test_reader_leaves(self):
        def fail(name, _):
            dump = self.stream(name, '-', stdout=subprocess.PIPE)
            left = self.random.randrange(LEAST_BYTES)
            while left > 0 and (got := dump.proc.stdout.read1(left)):
                left -= len(got)
            dump.proc.stdout.close()
            self.check_error(dump.end(), 1, 'Broken pipe')
            self.check_nothing_left(self.target, self.look, self.flags)
        self.each(fail, streams=True)


class Dump:
    def __init__(self, case, name, out, mode, options=(), **kw):
        kw.setdefault('stdout', subprocess.DEVNULL)
        self.proc = case.popen('dump', '-q', '--format', name, *mode, *options, '--attach', case.target.pid, out,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **kw)

    def end(self):
        err = self.proc.stderr.read().decode(errors='replace')
        return harness.Result(self.proc.wait(harness.patience(60)), '', err)


class TestPaused(FailureTests, test_snapshot.FailureCase):
    pass


class TestSnapshotOfPrivate(FailureTests, test_snapshot.FailureCase):
    MODE = ('--snapshot',)


class TestSnapshotOfShared(FailureTests, test_snapshot.FailureCase):
    OPTIONS = ('--shared',)
    MODE = ('--snapshot',)
