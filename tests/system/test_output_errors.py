# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs that fail: a clear error, exit 1, the guest running, nothing left behind."""

import os
import re
import subprocess

import harness
import pattern


class TestOutputErrors(harness.Case):
    def setUp(self):
        super().setUp()
        self.target = self.vmm()
        self.look = harness.Look(self.target.pid)

    def refuse(self, out, *patterns, **kw):
        self.check_error(self.run_server('dump', '-q', *harness.target_of(self.target), out, **kw), 1, *patterns)
        self.target.counts_on()
        self.look.check_same(self)

    def disk(self, size=4 << 20):
        try:
            disk = harness.SmallDisk(self.path('disk'), size)
        except subprocess.CalledProcessError:
            self.skipTest('cannot mount a tmpfs')
        self.addCleanup(disk.close)
        return disk

    def test_dev_full(self):
        self.refuse('/dev/full', '/dev/full', 'No space left')

    def test_dev_full_as_a_descriptor(self):
        fd = os.open('/dev/full', os.O_WRONLY)
        self.addCleanup(os.close, fd)
        self.refuse('fd:%d' % fd, 'No space left', pass_fds=[fd])

    def test_dev_full_as_standard_output(self):
        with open('/dev/full', 'wb') as full:
            self.refuse('-', 'No space left', stdout=full)

    def test_not_enough_disk(self):
        """Known before a byte is written: free and needed bytes."""
        disk = self.disk()
        path = os.path.join(disk.path, 'core')
        with open(path, 'w') as f:
            f.write('precious')
        result = self.run_server('dump', '-q', *harness.target_of(self.target), path)
        self.check_error(result, 1, 'core')
        self.assertGreaterEqual(len(re.findall(r'\d{5,}', result.err)), 2, 'free and needed bytes: ' + result.err)
        self.assertEqual(os.listdir(disk.path), ['core'])
        with open(path) as f:
            self.assertEqual(f.read(), 'precious')
        self.target.counts_on()

    def test_disk_fills_up_on_the_way(self):
        disk = self.disk()
        fd = os.open(os.path.join(disk.path, 'core'), os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, fd)
        self.refuse('fd:%d' % fd, 'No space left', pass_fds=[fd])

    def test_closed_pipe(self):
        r, w = os.pipe()
        os.close(r)
        with open(w, 'wb') as pipe:
            self.refuse('-', 'Broken pipe', stdout=pipe)

    def test_reader_that_goes_away(self):
        r, w = os.pipe()
        proc = self.popen('dump', '-q', *harness.target_of(self.target), '-', stdout=w, stderr=subprocess.PIPE)
        os.close(w)
        os.read(r, 4096)
        os.close(r)
        err = proc.communicate(timeout=20)[1].decode()
        self.check_error(harness.Result(proc.returncode, '', err), 1, 'Broken pipe')
        self.target.counts_on()
        self.look.check_same(self)

    def test_directory_that_cannot_be_written(self):
        disk = self.disk()
        disk.read_only()
        self.refuse(os.path.join(disk.path, 'core'), 'Read-only file system')
        self.refuse('/proc/core')

    def test_missing_directory(self):
        self.refuse(self.path('no/such/core'), 'No such file or directory')

    def test_in_gdb(self):
        """gdb is told, and the session goes on."""
        rsp = self.rsp(self.target)
        for out in ('/dev/full', self.path('no/such/core'), 'fd:99'):
            text, end = rsp.monitor('dump-guest-memory ' + out)
            self.assertTrue(end.startswith('E') or re.search('No space|No such|fd:99', text), (text, end))
        self.assertTrue(rsp.read(pattern.GVA_DATA, 8))
        rsp.detach()
        self.target.counts_on()
        self.look.check_same(self)

    def test_in_the_console(self):
        self.check_error(self.console(self.target, 'pmemsave 0 0x100000 /dev/full'), 1, 'No space left')
        self.check_error(self.console(self.target, 'dump-guest-memory /dev/full'), 1, 'No space left')
        self.target.counts_on()
