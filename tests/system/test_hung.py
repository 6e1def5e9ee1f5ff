# SPDX-License-Identifier: GPL-3.0-or-later
"""A VMM whose main loop hangs answers nobody; its guest is looked at and dumped all the same."""

import json
import os

import elfcore
import harness

NR_OPENAT = '257'
ROM = 0xffff0000  # the end of the firmware, which nobody writes


class TestMainLoop(harness.Case):
    def setUp(self):
        super().setUp()
        harness.require_kvm()
        self.qemu = harness.Qemu()
        self.addCleanup(self.qemu.close)
        self.qemu.wait_for_firmware()
        self.ram = self.qemu.pmemsave(ROM, 0x10000)
        self.fifo = self.path('fifo')
        os.mkfifo(self.fifo)
        self.hang()

    def hang(self):
        """Nobody reads from the pipe that it is to open."""
        command = {'execute': 'pmemsave', 'arguments': {'val': 0, 'size': 1, 'filename': self.fifo}}
        self.qemu.socket.sendall(json.dumps(command).encode())
        harness.wait_for(self.waits, 10, 'the main loop hangs')

    def waits(self):
        with open('/proc/%d/syscall' % self.qemu.pid) as f:
            return f.read().split()[0] == NR_OPENAT

    def check_end(self):
        """It hung on, does what it was told as soon as it can, and answers again."""
        harness.wait_for(self.waits, 10, 'the main loop hangs as before')
        with open(self.fifo, 'rb') as f:
            self.assertEqual(len(f.read()), 1)
        self.assertEqual(self.qemu.answer('pmemsave'), {})
        self.assertTrue(self.qemu.running())

    def test_dump(self):
        path = self.path('vmcore')
        self.dump(self.qemu, path)
        with elfcore.Core(path) as core:
            self.assertEqual(core.read_phys(ROM, len(self.ram)), self.ram)
            self.assertEqual(len(core.prstatus()), 1)
        self.check_end()

    def test_session(self):
        rsp = self.rsp(self.qemu)
        self.assertEqual(rsp.physical(), 'OK')
        self.assertEqual(rsp.read(ROM, len(self.ram)), self.ram)
        self.assertEqual(rsp.detach(), 'OK')
        self.check_end()
