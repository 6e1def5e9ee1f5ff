# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets themselves, without us: what the other tests take for granted."""

import os
import signal
import unittest

import harness
import pattern


class TestTarget(unittest.TestCase):
    def start(self, *options):
        harness.require_kvm()
        vmm = harness.TestVmm(*options)
        self.addCleanup(vmm.close)
        return vmm

    def check_registers(self, *options):
        """What KVM says is what the formulas say."""
        vmm = self.start(*options)
        vmm.command('pause')
        for cpu in range(len(vmm.vms[0]['vcpus'])):
            got = {pattern.GDB_NAMES.get(k, k): int(v, 16) for k, v in vmm.command('regs 0 %d' % cpu).items()}
            got['eflags'] &= ~pattern.EFLAGS_ARITHMETIC
            want = pattern.registers(vmm.mode, 0, cpu, vmm.work, vmm.missing(cpu))
            del want['ftag']  # KVM has the abridged form
            for name in set(want) & set(got):
                self.assertEqual(hex(got[name]), hex(want[name]), '%s of vCPU %d' % (name, cpu))
        vmm.command('run')
        if vmm.work != 'halt':
            vmm.counts_on()

    def test_registers_long(self):
        self.check_registers()

    def test_registers_pio(self):
        self.check_registers('--pio')

    def test_registers_mmio(self):
        self.check_registers('--mmio')

    def test_registers_halt(self):
        self.check_registers('--halt')

    def test_registers_16(self):
        self.check_registers('--mode', '16')

    def test_registers_flat(self):
        self.check_registers('--mode', 'flat')

    def test_registers_32(self):
        self.check_registers('--mode', '32')

    def test_registers_pae(self):
        self.check_registers('--mode', 'pae')

    def test_memory(self):
        vmm = self.start()
        for slot in vmm.slots():
            for n in (0, 1, 2, 3, slot['bytes'] // 4096 - 1):
                want = pattern.page(0, slot['gpa'] + n * 4096) if pattern.touched(n) else bytes(4096)
                self.assertEqual(vmm.peek(slot['hva'] + n * 4096, 4096), want, hex(slot['gpa'] + n * 4096))

    def test_seccomp_and_blockers(self):
        vmm = self.start('--seccomp', '--threads', '13')
        vmm.counts_on()
        vmm.command('pause')
        vmm.command('run')
        vmm.counts_on()

    def test_paused_until_signal(self):
        vmm = self.start('--paused')
        self.assertEqual(vmm.counters(), [0, 0])
        os.kill(vmm.pid, signal.SIGUSR1)
        vmm.counts_on()

    def test_extra_slot_comes_and_goes(self):
        vmm = self.start('--change-slots')
        added = vmm.line_after_signal(signal.SIGUSR2)[0]['slots']
        self.assertIn(pattern.GPA_EXTRA, [s['gpa'] for s in added])
        removed = vmm.line_after_signal(signal.SIGUSR2)[0]['slots']
        self.assertEqual(removed, vmm.slots())

    def test_interrupted_run_is_fatal(self):
        """A debugger that lets an EINTR through kills such a VMM, and we would see it."""
        vmm = self.start()
        os.kill(vmm.pid, signal.SIGSTOP)
        harness.wait_for(lambda: harness.stopped(vmm), 5, 'SIGSTOP')
        os.kill(vmm.pid, signal.SIGCONT)
        self.assertEqual(vmm.proc.wait(5), 4)


class TestQemuTarget(unittest.TestCase):
    def test_qemu(self):
        harness.require_kvm()
        qemu = harness.Qemu()
        self.addCleanup(qemu.close)
        qemu.wait_for_firmware()
        qemu.counts_on()
        qemu.stop()
        self.assertEqual(len(qemu.pmemsave(0xf0000, 0x10000)), 0x10000)
        self.assertIn('EIP=', qemu.hmp('info registers'))
        qemu.cont()
        qemu.counts_on()
