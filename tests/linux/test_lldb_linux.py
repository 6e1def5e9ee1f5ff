# SPDX-License-Identifier: GPL-3.0-or-later
"""lldb on the Linux guests of each architecture: registers, memory, breakpoints and steps."""

import re

import guests
import harness
import test_lldb

BANNER_BYTES = 32


class LldbTests:
    ENTRY = 0  # of a function, from its symbol on

    # In lldb, and how QEMU's monitor shows them: the program counter and the stack pointer.
    REGISTERS = {}

    @classmethod
    def make_guest(cls):
        return guests.Linux(cls.arch, append='spin=2')

    def setUp(self):
        super().setUp()
        self.target = ('--qmp', self.guest.qmp_path)

    def stops_in_sight_of(self, gva, data):
        """A vCPU in user space may not see the kernel's memory."""
        self.guest.stop()
        try:
            if self.guest.memsave(gva, len(data)) == data:
                return True
        except AssertionError:
            pass
        self.guest.cont()
        return False

    def test_looks(self):
        banner = self.guest.symbols['linux_banner']
        data = self.guest.image_memory(banner, BANNER_BYTES)
        harness.wait_for(lambda: self.stops_in_sight_of(banner, data), 60, 'vCPU 0 sees the kernel')
        self.addCleanup(self.guest.cont)
        out = self.served(self.target, 'thread list', 'register read ' + ' '.join(self.REGISTERS),
                          'memory read --size 1 --format x --count %d %#x' % (BANNER_BYTES, banner),
                          'process plugin packet monitor info version', 'process plugin packet send qC', 'detach')
        self.assertEqual(re.findall(r'^[* ] thread #(\d+): tid', out, re.M), ['1', '2'], out)
        said = self.guest.hmp('info registers')
        for name, pattern in self.REGISTERS.items():
            self.check_register(out, name, int(re.search(pattern, said).group(1), 16))
        lines = re.findall(r'^0x[0-9a-f]+:((?: 0x[0-9a-f]{2})+)$', out, re.M)
        self.assertEqual(bytes(int(byte, 16) for line in lines for byte in line.split()), data)
        self.assertRegex(out, r'\b\d+\.\d+\.\d+ \(')
        self.assertIn('response: QC1', out)
        self.assertIn('detached', out)

    def test_breakpoint_and_step(self):
        """A system call that both processes make all the time."""
        called = self.guest.symbol('ksys_write') + self.ENTRY
        out = self.served(self.target, 'breakpoint set --address %#x' % called, 'continue', 'continue',
                          'breakpoint delete 1', 'thread step-inst', 'detach')
        self.assertGreaterEqual(len(re.findall(r'stop reason = breakpoint 1\.1', out)), 2, out)
        stepped = re.search(r'stop reason = instruction step into\n +frame #0: (0x[0-9a-f]+)', out)
        self.assertTrue(stepped, out)
        self.assertIn(int(stepped.group(1), 16) - called, range(1, 16))
        self.assertIn('detached', out)
        self.assertTrue(self.guest.running())
        self.assertEqual(self.guest.run('echo alive'), ['alive'])


class TestAmd64(LldbTests, test_lldb.LldbCase, guests.GuestCase):
    arch = 'amd64'
    REGISTERS = {'rip': r'RIP=(\w+)', 'rsp': r'RSP=(\w+)'}


class TestS390x(LldbTests, test_lldb.LldbCase, guests.GuestCase):
    arch = 's390x'
    REGISTERS = {'pswa': r'addr (\w+)', 'r15': r'R15=(\w+)'}


class TestPpc64el(LldbTests, test_lldb.LldbCase, guests.GuestCase):
    arch = 'ppc64el'
    ENTRY = 8
    REGISTERS = {'pc': r'NIP (\w+)', 'r1': r'GPR00 \w+ (\w+)'}
