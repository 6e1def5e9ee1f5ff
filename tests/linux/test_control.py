# SPDX-License-Identifier: GPL-3.0-or-later
"""Breakpoints, watchpoints and steps in Linux guests through --qmp; they are as they were afterwards."""

import re
import time

import guests
import harness

HITS = 20
MANY_HITS = 1000
RANGES = 10
STEPS = harness.times(1000)
INTERRUPTS = harness.times(200)
KILLED_AFTER = harness.some([0, 0.001, 0.003, 0.01])
TEXT_BYTES = 1 << 20
LOWCORE_CURRENT_TASK = 0x340  # struct lowcore of Linux 6.1


class RunTests:
    """What holds for every guest. SPIN keeps a process on each vCPU in system calls."""

    SPIN = 'spin=2'

    CALLED = 'ksys_write'   # by each turn of the spinner
    ENTRY = 0
    COUNTED = 'jiffies_64'
    # By the kind of packet, what stops name them.
    WATCHPOINTS = {2: 'watch', 3: 'rwatch', 4: 'awatch'}

    def find_target(self):
        return '--qmp', self.guest.qmp_path

    def setUp(self):
        super().setUp()
        # Asked of the guest while it runs.
        self.called = self.guest.symbol(self.CALLED) + self.ENTRY
        if self.COUNTED:
            self.guest.symbol(self.COUNTED)
        self.target = self.find_target()
        if self.guest.running():
            self.guest.stop()
        self.text_at = self.guest.symbols['_stext']
        self.text = self.guest.image_memory(self.text_at, TEXT_BYTES)
        self.guest.cont()
        self.session = self.rsp(self.target)
        self.session.ask('QStartNoAckMode')
        self.watched = self.find_watched()

    def find_watched(self):
        """Of 8 bytes that the kernel writes all the time."""
        return self.guest.symbols[self.COUNTED]

    def find_read(self):
        """Of 8 bytes that it reads all the time."""
        return self.watched

    def leave(self):
        """Whatever is armed."""
        self.assertEqual(self.session.detach(), 'OK')
        self.check_alive()

    def check_alive(self):
        self.assertEqual(self.guest.qmp('query-status')['status'], 'running')
        self.assertIsNone(self.guest.stub_filename())
        self.assertEqual(self.guest.run('echo alive'), ['alive'])
        before = self.guest.count()
        harness.wait_for(lambda: self.guest.count() != before, 60, 'the spinner goes on')
        self.guest.stop()
        self.assertEqual(self.guest.image_memory(self.text_at, TEXT_BYTES), self.text)
        self.guest.cont()

    def stopped(self, reply):
        """(thread, pc)"""
        match = re.match(r'T05thread:(\d+);.*?\b%x:([0-9a-f]{16});' % guests.PC[self.guest.arch], reply)
        self.assertTrue(match, reply)
        return int(match.group(1)), int.from_bytes(bytes.fromhex(match.group(2)), guests.BYTE_ORDER[self.guest.arch])

    def set(self, kind, address, size):
        self.assertEqual(self.session.ask('Z%d,%x,%x' % (kind, address, size)), 'OK')

    def clear(self, kind, address, size):
        self.assertEqual(self.session.ask('z%d,%x,%x' % (kind, address, size)), 'OK')

    def in_user_space(self, thread):
        self.assertEqual(self.session.thread(thread), 'OK')
        return guests.in_user_space(self.session, self.guest.arch)

    def hit(self, address):
        """The thread that came to it."""
        thread, pc = self.stopped(self.session.ask('vCont;c', 60))
        self.assertEqual(hex(pc), hex(address))
        return thread

    def interrupt(self):
        self.session.interrupt()
        self.assertRegex(self.session.receive().decode(), '^T02')

    def test_breakpoints(self):
        """And each vCPU comes to them."""
        for kind in (0, 1):
            with self.subTest(kind=kind):
                self.set(kind, self.called, 4)
                threads = [self.hit(self.called) for _ in range(HITS)]
                while len(set(threads)) < self.guest.n_cpus and len(threads) < MANY_HITS:
                    threads.append(self.hit(self.called))
                self.assertEqual(len(set(threads)), self.guest.n_cpus)
                self.assertEqual(self.session.read(self.text_at, 4096), self.text[:4096])
                self.clear(kind, self.called, 4)
        self.leave()

    def a_thread_in_user_space(self):
        """Of the guest, which was stopped while one was."""
        for _ in range(MANY_HITS):
            self.session.send('vCont;c')
            time.sleep(0.01)
            self.interrupt()
            for thread in range(1, self.guest.n_cpus + 1):
                if self.in_user_space(thread):
                    return thread
        self.fail('no vCPU is ever in user space')

    def test_breakpoint_in_user_space(self):
        """Where a spinner is, which comes by there again."""
        self.session.thread(self.a_thread_in_user_space())
        at = guests.register(self.session, self.guest.arch, guests.PC[self.guest.arch])
        code = self.session.read(at, 8)
        for kind in (0, 1):
            with self.subTest(kind=kind):
                self.set(kind, at, 4)
                for _ in range(HITS // 2):
                    self.assertTrue(self.in_user_space(self.hit(at)))
                self.clear(kind, at, 4)
        self.assertEqual(self.session.read(at, 8), code)
        self.leave()

    def test_watchpoints(self):
        for kind, reason in self.WATCHPOINTS.items():
            with self.subTest(kind=kind):
                at = self.watched if kind == 2 else self.find_read()
                self.set(kind, at, 8)
                for _ in range(HITS):
                    reply = self.session.ask('vCont;c', 60)
                    self.stopped(reply)
                    self.assertIn(';%s:%x;' % (reason, at), reply)
                self.clear(kind, at, 8)
                self.pass_stale_hits()
        self.leave()

    def pass_stale_hits(self):
        """QEMU 7.2 may tell another vCPU's hit of a watchpoint that it has freed since, as one of some other address."""
        for _ in range(1 + self.guest.n_cpus):
            self.session.send('vCont;c')
            time.sleep(0.1)
            self.session.interrupt()
            if self.session.receive().startswith(b'T02'):
                return
        self.fail('it does not run')

    def test_ranges(self):
        """A step goes on until it is out of them."""
        for n in range(RANGES):
            self.set(1, self.called, 4)
            thread = self.hit(self.called)
            self.clear(1, self.called, 4)
            end = self.called + 4 + 4 * n
            at = self.stopped(self.session.ask('vCont;r%x,%x:%x' % (self.called, end, thread), 60))
            self.assertEqual(at[0], thread)
            self.assertFalse(self.called <= at[1] < end, hex(at[1]))
        self.leave()

    def test_steps(self):
        self.set(1, self.called, 4)
        thread, last = self.stopped(self.session.ask('vCont;c', 60))
        moved = 0
        for _ in range(STEPS):
            at = self.stopped(self.session.ask('vCont;s:%x' % thread))
            self.assertEqual(at[0], thread)
            moved += at[1] != last
            last = at[1]
        self.assertGreater(moved, STEPS * 9 // 10)
        self.leave()

    def test_interrupts(self):
        self.set(1, self.guest.symbols['_stext'], 4)
        for n in range(INTERRUPTS):
            self.session.send('vCont;c')
            time.sleep(0.002 * (n % 5))
            self.interrupt()
        self.leave()

    def test_detach_with_all_armed(self):
        self.set(0, self.called, 4)
        self.set(1, self.called + 64, 4)
        self.set(2, self.watched, 8)
        self.stopped(self.session.ask('vCont;c', 60))
        self.leave()

    def test_killed_with_all_armed(self):
        for seconds in KILLED_AFTER:
            with self.subTest(seconds=seconds):
                self.set(0, self.called, 4)
                self.set(2, self.watched, 8)
                self.session.send('vCont;c')
                time.sleep(seconds)
                self.session.proc.kill()
                self.session.proc.wait()
                harness.wait_for(lambda: not harness.tagged(self.tag), 20, 'our processes end')
                self.check_alive()
                self.session = self.rsp(self.target)
                self.session.ask('QStartNoAckMode')
        self.leave()

    def test_gdb(self):
        self.assertEqual(self.session.detach(), 'OK')
        remote = 'target remote | ' + ' '.join(map(str, (harness.SERVER, '-', *self.target)))
        # Without a file gdb does not learn the byte order, and its variables have that of their time.
        words = ['set endian ' + guests.BYTE_ORDER[self.guest.arch], remote, 'set var $n = 0', 'hbreak *%#x' % self.called, 'continue', 'delete',
                 'break *%#x if ++$n == 3' % self.called, 'continue', 'p $n',
                 'stepi', 'thread apply all bt 1', 'detach']
        out = self.run_gdb('-ex', 'set pagination off', '-ex', 'set width 0', '-ex', 'set confirm off', '-ex',
                           'set remotetimeout 60',
                           *[w for c in words for w in ('-ex', c)], seconds=300, program='gdb-multiarch')
        self.assertRegex(out, r'(?m)^Thread .*Breakpoint 1, ')
        self.assertRegex(out, r'(?m)^Thread .*Breakpoint 2, ')
        self.assertRegex(out, r'(?m)^\$\d+ = 3$')
        self.assertEqual(len(re.findall(r'(?m)^#0 ', out)), self.guest.n_cpus)
        self.check_alive()


class TestAmd64(RunTests, guests.GuestCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64', append=cls.SPIN)


class TestS390x(RunTests, guests.GuestCase):
    COUNTED = None

    @classmethod
    def make_guest(cls):
        return guests.Linux('s390x', append=cls.SPIN)

    def find_watched(self):
        """Where each function that the system call calls saves the stack pointer: its kallsyms has no data."""
        self.set(1, self.called, 4)
        thread, _ = self.stopped(self.session.ask('vCont;c', 60))
        self.clear(1, self.called, 4)
        self.session.thread(thread)
        return guests.register(self.session, 's390x', guests.SP['s390x']) + 120

    def find_read(self):
        """
        The current task. Not what LMG reads: for a watchpoint QEMU 7.2 does an instruction
        again from its start, when LMG has changed the register that it counts from.
        """
        return LOWCORE_CURRENT_TASK


class TestPpc64el(RunTests, guests.GuestCase):
    ENTRY = 8  # where the kernel itself calls it: its table of contents is set already

    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el', append=cls.SPIN)
