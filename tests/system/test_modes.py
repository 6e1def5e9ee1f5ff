# SPDX-License-Identifier: GPL-3.0-or-later
"""VMMs that make it hard: jailed, paused, stopped, with several VMs, in the middle of I/O, asleep."""

import os
import signal

import harness
import pattern


class ModeCase(harness.Case):
    def rbx(self, rsp, cpu):
        """rbx, which is number 1 in gdb's order."""
        self.assertEqual(rsp.thread(cpu + 1), 'OK')
        return int.from_bytes(bytes.fromhex(rsp.ask('p1')), 'little')

    def check_registers(self, rsp, vm=0, n_cpus=2):
        for cpu in range(n_cpus):
            self.assertEqual(hex(self.rbx(rsp, cpu)), hex(pattern.value('G', vm, cpu, 3)))

    def look_and_leave(self, vmm, *options):
        look = harness.Look(vmm.pid)
        rsp = self.rsp(vmm, *options)
        self.check_registers(rsp)
        self.assertEqual(rsp.read(pattern.GVA_DATA, 8),
                         pattern.word(0, pattern.GPA_DATA + 0x1000).to_bytes(8, 'little'))
        self.assertEqual(rsp.detach(), 'OK')
        look.check_same(self)


class TestJailed(ModeCase):
    def test_seccomp(self):
        vmm = self.vmm('--seccomp')
        for _ in range(5):
            self.look_and_leave(vmm)
        vmm.counts_on()

    def test_seccomp_with_sleepers(self):
        vmm = self.vmm('--seccomp', '--threads', '13')
        for _ in range(5):
            self.look_and_leave(vmm)
        vmm.counts_on()

    def test_seccomp_dump_and_write(self):
        vmm = self.vmm('--seccomp')
        rsp = self.rsp(vmm)
        rsp.thread(1)
        self.assertEqual(rsp.ask('P1=%s' % (0x1234).to_bytes(8, 'little').hex()), 'OK')
        rsp.detach()
        vmm.counts_on()
        self.dump(vmm, self.path('core'))
        vmm.counts_on()
        rsp = self.rsp(vmm)
        self.assertEqual(self.rbx(rsp, 0), 0x1234)
        rsp.detach()


class TestPaused(ModeCase):
    def test_paused_since_start(self):
        vmm = self.vmm('--paused')
        for _ in range(3):
            self.look_and_leave(vmm)
        self.assertEqual(vmm.counters(), [0, 0], 'it stays paused')
        os.kill(vmm.pid, signal.SIGUSR1)
        vmm.counts_on()

    def test_paused_after_running(self):
        vmm = self.vmm()
        vmm.counts_on()
        vmm.command('pause')
        before = vmm.counters()
        self.look_and_leave(vmm)
        self.assertEqual(vmm.counters(), before)
        vmm.command('run')
        vmm.counts_on()

    def test_started_while_attached(self):
        """The signal that starts the guest waits until we let go."""
        vmm = self.vmm('--paused')
        rsp = self.rsp(vmm)
        rsp.ask('?')
        os.kill(vmm.pid, signal.SIGUSR1)
        self.check_registers(rsp)
        self.assertEqual(vmm.peek_counters(), [0, 0])
        rsp.detach()
        vmm.counts_on()

    def test_stopped_by_signal(self):
        """A VMM under SIGSTOP can be looked at, and is under SIGSTOP afterwards."""
        vmm = self.vmm('--tolerate-eintr')
        os.kill(vmm.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, vmm.pid, signal.SIGCONT)
        harness.wait_for(lambda: harness.stopped(vmm), 5, 'SIGSTOP')
        before = vmm.peek_counters()
        for _ in range(3):
            rsp = self.rsp(vmm)
            self.check_registers(rsp)
            rsp.detach()
            harness.wait_for(lambda: harness.stopped(vmm), 5, 'stopped as it was')
        self.assertEqual(vmm.peek_counters(), before)
        os.kill(vmm.pid, signal.SIGCONT)
        vmm.counts_on()

    def test_paused_qemu(self):
        qemu = self.qemu()
        qemu.stop()
        look = harness.Look(qemu.pid)
        for _ in range(5):
            rsp = self.rsp(qemu)
            rsp.ask('g')
            rsp.detach()
        look.check_same(self, steady=False)
        self.assertFalse(qemu.running())
        qemu.cont()
        qemu.counts_on()

    def test_qemu_stopped_while_attached(self):
        """Its monitor's thread waits for us, then does what it was told."""
        qemu = self.qemu('-smp', '2')
        rsp = self.rsp(qemu)
        rsp.ask('?')
        qemu.socket.sendall(b'{"execute": "stop"}\n')
        rsp.ask('g')
        rsp.detach()
        qemu.answer('stop')
        self.assertFalse(qemu.running())
        qemu.cont()
        qemu.counts_on()


class TestSeveralVms(ModeCase):
    def test_each_vm(self):
        vmm = self.vmm('--vms', '3')
        for vm in range(3):
            rsp = self.rsp(vmm, '--vm', str(vm))
            self.check_registers(rsp, vm)
            self.assertEqual(rsp.read(pattern.GVA_DATA, 8),
                             pattern.word(vm, pattern.GPA_DATA + 0x1000).to_bytes(8, 'little'))
            rsp.detach()
            for n in range(3):
                vmm.counts_on(n)

    def test_first_by_default(self):
        rsp = self.rsp(self.vmm('--vms', '2'))
        self.check_registers(rsp, 0)
        rsp.detach()


class TestInTheMiddleOfIo(ModeCase):
    TIMES = harness.times(30)

    def handed(self, vmm, cpu):
        return int.from_bytes(vmm.peek(vmm.vms[0]['vcpus'][cpu]['handed_hva'], 8), 'little')

    def state(self, vmm, rsp, cpu):
        """Input number in rax, in memory behind it, in the counter; and how many the VMM has answered."""
        self.assertEqual(rsp.thread(cpu + 1), 'OK')
        rax = int.from_bytes(bytes.fromhex(rsp.ask('p0')), 'little')
        page = rsp.read(pattern.GVA_CODE + pattern.COUNTER_OFFSET, 16)
        counter = int.from_bytes(page[:8], 'little')
        last = int.from_bytes(page[8:12], 'little')
        base = pattern.input_value(cpu, 0)
        return rax - base, last - base, counter, self.handed(vmm, cpu)

    def check(self, *options):
        vmm = self.vmm(*options)
        vmm.counts_on()
        for _ in range(self.TIMES):
            rsp = self.rsp(vmm)
            for cpu in range(2):
                rax, last, counter, handed = seen = self.state(vmm, rsp, cpu)
                self.assertEqual(rax, handed, 'an input that was answered is in the register: %s' % (seen,))
                self.assertIn((rax - last, rax - counter), ((0, 0), (1, 1), (0, 1)), seen)
            rsp.detach()
        vmm.counts_on()
        vmm.command('pause')
        for cpu, counter in enumerate(vmm.counters()):
            self.assertIn(self.handed(vmm, cpu) - counter, (0, 1), 'no input was lost or done twice')

    def test_ports(self):
        self.check('--pio')

    def test_mmio(self):
        self.check('--mmio')


class TestSleepers(ModeCase):
    CYCLES = harness.times(50)

    def test_blocking_calls_survive(self):
        """Every kind of thread twice; each ends the VMM when its call ends early."""
        vmm = self.vmm('--threads', '26')
        look = harness.Look(vmm.pid)
        for _ in range(self.CYCLES):
            rsp = self.rsp(vmm)
            rsp.ask('?')
            rsp.detach()
            vmm.check_alive()
        harness.time.sleep(0.5)
        vmm.counts_on()
        look.check_same(self)

    def test_many_threads(self):
        vmm = self.vmm('--threads', '300')
        for _ in range(3):
            self.look_and_leave(vmm)
        vmm.counts_on()

    def test_halted(self):
        vmm = self.vmm('--halt')
        for _ in range(3):
            self.look_and_leave(vmm)
        self.assertEqual(vmm.counters(), [1, 1])

    def test_huge_pages(self):
        vmm = self.vmm('--hugepages', '--shared')
        self.look_and_leave(vmm)
        vmm.counts_on()
