# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux guests through --qmp: what we show is what QEMU itself shows of the same stopped guest."""

import random

import elfcore
import guests
import harness
import readers

READS = 1000
READ_BYTES = 64


class BackendTests:
    """What holds for every guest; stopped by the first test that needs it."""

    # What QEMU 7.2's own stub says wrongly, and why.
    STUB_IS_WRONG = {}

    def setUp(self):
        super().setUp()
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        self.target = ('--qmp', self.guest.qmp_path)
        self.random = random.Random(11)

    def stub_text(self, *commands):
        self.guest.start_stub()
        try:
            # Detaching would make the guest run.
            commands = 'target remote ' + self.guest.gdb_path, *commands, 'disconnect'
            return self.run_multiarch(*[w for c in commands for w in ('-ex', c)])
        finally:
            self.guest.stop_stub()

    def our_text(self, *commands):
        ours = ' '.join(map(str, (harness.SERVER, '-', *self.target)))
        return self.run_multiarch(*[w for c in ('target remote | ' + ours, *commands) for w in ('-ex', c)])

    def run_multiarch(self, *words):
        return self.run_gdb('-ex', 'set pagination off', '-ex', 'set width 0', '-ex', 'set confirm off', *words,
                            program='gdb-multiarch')

    def test_registers_equal_the_stub(self):
        for thread in range(1, self.guest.n_cpus + 1):
            select = 'thread %d' % thread
            theirs = readers.registers(self.stub_text(select, 'info registers all'))
            names = sorted(set(theirs) - set(self.STUB_IS_WRONG))
            ours = readers.registers(self.our_text(select, *['info registers ' + name for name in names]))
            both = [name for name in names if name in ours]
            self.assertGreater(len(both), 50)
            for name in both:
                self.assertEqual(ours[name], theirs[name], 'vCPU %d: %s' % (thread - 1, name))

    def test_physical_reads(self):
        rsp = self.rsp(self.target)
        self.assertEqual(rsp.physical(), 'OK')
        ram = self.guest.pmemsave(0, self.guest.megabytes << 20)
        for _ in range(READS):
            at = self.random.randrange(len(ram) - READ_BYTES)
            self.assertEqual(rsp.read(at, READ_BYTES), ram[at:at + READ_BYTES], hex(at))
        self.assertEqual(rsp.detach(), 'OK')

    def test_virtual_reads(self):
        rsp = self.rsp(self.target)
        start, end = self.guest.symbols['_stext'], self.guest.symbols['_etext']
        for _ in range(READS):
            at = self.random.randrange(start, end - READ_BYTES)
            self.assertEqual(rsp.read(at, READ_BYTES), self.guest.memsave(at, READ_BYTES), hex(at))
        self.assertEqual(rsp.detach(), 'OK')

    def test_threads(self):
        self.assertEqual(self.our_text('info threads').count('vCPU'), self.guest.n_cpus)

    def test_a_running_guest_goes_on(self):
        self.guest.cont()
        rsp = self.rsp(self.target)
        self.assertRegex(rsp.ask('?'), '^[TS]')
        self.assertFalse(self.guest.running())
        self.assertEqual(rsp.detach(), 'OK')
        self.assertTrue(self.guest.running())
        self.assertEqual(self.guest.run('echo alive'), ['alive'])

    def test_dump_has_the_bytes_of_qemus(self):
        ours, theirs = self.path('ours'), self.path('theirs')
        self.dump(self.target, ours)
        self.guest.dump(theirs)
        with elfcore.Core(ours) as a, elfcore.Core(theirs) as b:
            self.assertEqual(a.ranges(), b.ranges())
            self.assertIsNone(elfcore.first_difference(a, b))


class TestAmd64(BackendTests, guests.GuestCase):
    # st: the physical registers, whatever TOP is; ftag to fop are constants there.
    STUB_IS_WRONG = dict.fromkeys(['st%d' % i for i in range(8)] + ['ftag', 'fiseg', 'fioff', 'foseg', 'fooff', 'fop'])

    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64')


class TestAmd64Nokaslr(TestAmd64):
    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64', append='nokaslr', memory='private')


class TestS390x(BackendTests, guests.GuestCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('s390x')


class TestPpc64el(BackendTests, guests.GuestCase):
    # Copies that are not kept up to date: the clocks.
    STUB_IS_WRONG = dict.fromkeys(['decr', 'tbl', 'tbu', 'spr_cfar'])

    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el')
