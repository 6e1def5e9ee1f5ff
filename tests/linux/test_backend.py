# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux guests through --qmp: what we show is what QEMU itself shows of the same stopped guest."""

import random

import elfcore
import guests
import harness
import readers

READS = 1000
READ_BYTES = 64
PAGE = 4096


class BackendTests:
    """What holds for every guest; stopped by the first test that needs it."""

    # What QEMU 7.2's own stub says wrongly, and why.
    STUB_IS_WRONG = {}
    # What it has and we do not show, and why.
    STUB_ALONE_HAS = {}

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
            ours = readers.registers(self.our_text(select, *['info registers ' + name for name in sorted(theirs)]))
            for said in (ours, theirs):
                for word in ('Invalid', 'Could'):  # of gdb's own "Invalid register" and "Could not fetch"
                    said.pop(word, None)
            self.assertEqual(set(theirs) - set(ours) - set(self.STUB_ALONE_HAS), set())
            for name in sorted(set(ours) - set(self.STUB_IS_WRONG)):
                self.assertEqual(ours[name], theirs[name], 'vCPU %d: %s' % (thread - 1, name))

    def test_physical_reads(self):
        rsp = self.rsp(self.target)
        self.assertEqual(rsp.physical(), 'OK')
        ram = self.guest.pmemsave(0, self.guest.megabytes << 20)
        for _ in range(READS):
            at = self.random.randrange(len(ram) - READ_BYTES)
            self.assertEqual(rsp.read(at, READ_BYTES), ram[at:at + READ_BYTES], hex(at))
        self.assertEqual(rsp.detach(), 'OK')

    def in_user_space(self, rsp):
        return guests.in_user_space(rsp, self.guest.arch)

    def in_kernel(self, rsp):
        """And on its stack already."""
        arch = self.guest.arch
        sp = guests.register(rsp, arch, guests.SP[arch])
        return not self.in_user_space(rsp) and (rsp.read(sp, 8) is not None if arch == 's390x' else sp >= 1 << 63)

    def stop_where(self, there, cpus):
        """A session, whose thread is there, and its vCPU, one of these."""
        def stops():
            self.guest.stop()
            rsp = self.rsp(self.target)
            for cpu in cpus:
                rsp.thread(cpu + 1)
                if there(rsp):
                    return rsp, cpu
            self.assertEqual(rsp.detach(), 'OK')
            self.guest.cont()
        return harness.wait_for(stops, 60, 'a vCPU there')

    def direct_map(self):
        """Where the kernel has all RAM, and s390x's has it one to one."""
        if self.guest.arch == 'amd64':
            return int.from_bytes(self.guest.image_memory(self.guest.symbols['page_offset_base'], 8), 'little')
        return guests.LINEAR_MAP_PPC64 if self.guest.arch == 'ppc64el' else 0

    def check_reads(self, rsp, cpu, start, end):
        """Most of them give bytes; where QEMU has none we have none."""
        good = 0
        for _ in range(READS // 7):
            at = self.random.randrange(start, end, READ_BYTES)
            try:
                theirs = self.guest.memsave(at, READ_BYTES, cpu)
            except AssertionError:
                theirs = None
            self.assertEqual(rsp.read(at, READ_BYTES), theirs, hex(at))
            good += theirs is not None
        self.assertGreater(good, READS // 14)

    def test_virtual_reads(self):
        """Of the kernel's text, of RAM as it maps that, and of its stack."""
        rsp, cpu = self.stop_where(self.in_kernel, range(self.guest.n_cpus))
        ram = self.direct_map()
        sp = guests.register(rsp, self.guest.arch, guests.SP[self.guest.arch])
        for name, start, end in (('text', self.guest.symbols['_stext'], self.guest.symbols['_etext']),
                                 ('RAM', ram, ram + (self.guest.megabytes << 20)),
                                 ('stack', sp & -PAGE, (sp & -PAGE) + PAGE)):
            with self.subTest(area=name):
                self.check_reads(rsp, cpu, start & -READ_BYTES, end)
        self.assertEqual(rsp.detach(), 'OK')

    def test_virtual_reads_of_processes(self):
        """Of what each vCPU runs."""
        for cpu in range(self.guest.n_cpus):
            rsp, _ = self.stop_where(self.in_user_space, [cpu])
            for name, numbers in (('code', guests.PC), ('stack', guests.SP)):
                with self.subTest(cpu=cpu, area=name):
                    page = guests.register(rsp, self.guest.arch, numbers[self.guest.arch]) & -PAGE
                    self.check_reads(rsp, cpu, page, page + PAGE)
            self.assertEqual(rsp.detach(), 'OK')
            self.guest.cont()

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
        return guests.Linux('amd64', append='spin=2')


class TestAmd64Nokaslr(TestAmd64):
    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64', append='nokaslr spin=2', memory='private')


class TestS390x(BackendTests, guests.GuestCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('s390x', append='spin=2')


class TestPpc64el(BackendTests, guests.GuestCase):
    # Copies that are not kept up to date: the clocks.
    STUB_IS_WRONG = dict.fromkeys(['decr', 'tbl', 'tbu', 'spr_cfar'])
    # Names that user space has for others, and what the processor has for its performance
    # monitor, its accelerators and facilities that Linux's debuggers do not ask for.
    STUB_ALONE_HAS = dict.fromkeys("""
        acop bescrr bescrru bescrs bescrsu csigr ear mmcrc mmcrh mmcrs rpr spmc1 spmc2 spr_uctrl tacr tbu40 tcscr texasru
        tfmr tidr tir tscr uamr ummcr0 ummcr1 ummcr2 ummcra upmc1 upmc2 upmc3 upmc4 upmc5 upmc6 usdar usiar usier usprg3
        wort
        """.split())

    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el', append='spin=2')
