# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux as a guest of KVM on SVM, attached to by its QEMU's pid: stopped in kernel code, read, dumped, let go."""

import os
import re
import struct
import subprocess
import sys

import elfcore
import harness

sys.path.insert(0, os.path.join(harness.TOP, 'tests', 'linux'))
import guests
import kvm_guest
import test_control
import test_vmlinux

MEGABYTES = 256
CODE_READS = 50
CODE_BYTES = 256
RIP = 16  # in gdb's order
LINKED_AT = 0xffffffff81000000  # _stext, without randomisation


class KvmGuest:
    SPIN = ''

    @classmethod
    def setUpClass(cls):
        harness.require_kvm()
        super().setUpClass()

    @classmethod
    def make_guest(cls):
        return kvm_guest.boot(megabytes=MEGABYTES, append=cls.SPIN)


class TestKvmLinux(KvmGuest, test_vmlinux.SymbolTests, test_vmlinux.GdbCase):
    arch = 'amd64'

    def setUp(self):
        super().setUp()
        self.target = self.guest.pid

    def attach(self):
        rsp = self.rsp(self.guest.pid)
        self.assertRegex(rsp.ask('?'), '^[TS]')
        return rsp

    def rip(self, rsp, cpu):
        self.assertEqual(rsp.thread(cpu + 1), 'OK')
        value, = struct.unpack('<Q', bytes.fromhex(rsp.ask('p%x' % RIP)))
        return value

    def check_goes_on(self):
        self.assertTrue(self.guest.running())
        self.assertEqual(self.guest.run('echo alive'), ['alive'])

    def test_stopped_in_kernel_code(self):
        """It has nothing to do: each vCPU is where the kernel idles."""
        start, end = self.guest.symbols['_stext'], self.guest.symbols['_etext']
        rsp = self.attach()
        for cpu in range(self.guest.n_cpus):
            rip = self.rip(rsp, cpu)
            self.assertTrue(start <= rip < end, 'vCPU %d: rip %#x is not in %#x-%#x' % (cpu, rip, start, end))
        self.assertEqual(rsp.detach(), 'OK')
        self.check_goes_on()

    def test_reads_what_qemu_reads(self):
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        start, end = self.guest.symbols['_stext'], self.guest.symbols['_etext']
        step = (end - start) // CODE_READS
        rsp = self.attach()
        ours = {at: rsp.read(at, CODE_BYTES) for at in range(start, end - CODE_BYTES, step)}
        self.assertEqual(rsp.detach(), 'OK')
        for at, data in ours.items():
            self.assertEqual(data, self.guest.memsave(at, CODE_BYTES), hex(at))

    def test_banner(self):
        banner = self.banner()
        rsp = self.attach()
        self.assertEqual(rsp.read(self.guest.symbols['linux_banner'], len(banner)), banner.encode())
        self.assertEqual(rsp.detach(), 'OK')

    def test_registers_are_qemus(self):
        """Of a stopped guest; QEMU asks KVM for them itself."""
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        theirs = self.guest.hmp('info registers -a')
        rsp = self.attach()
        rips = [self.rip(rsp, cpu) for cpu in range(self.guest.n_cpus)]
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(['RIP=%016x' % rip for rip in rips], re.findall('RIP=[0-9a-f]+', theirs))

    def test_a_process_goes_on_after_each_look(self):
        self.guest.run('spinner 1 & until [ -e /run/count.1 ]; do :; done')
        self.addCleanup(self.guest.run, 'kill $!')
        for _ in range(harness.times(100)):
            before = self.guest.count()
            rsp = self.attach()
            self.assertTrue(rsp.ask('g'))
            self.assertEqual(rsp.detach(), 'OK')
            harness.wait_for(lambda: self.guest.count() > before, 20, 'the process counts')

    def test_dump(self):
        path = self.path('vmcore')
        self.dump(self.guest.pid, path)
        self.check_goes_on()
        with elfcore.Core(path) as core:
            self.assertEqual(len(core.prstatus()), self.guest.n_cpus)
            note, = core.notes_of('VMCOREINFO', 0)
        values = dict(line.split('=', 1) for line in note.decode().splitlines() if '=' in line)
        self.assertEqual(values['OSRELEASE'], self.guest.release)
        self.assertEqual(int(values['KERNELOFFSET'], 16), self.guest.symbols['_stext'] - LINKED_AT)
        said = self.read_elf(path)
        self.assertIn('CORE (Core file)', said)
        self.assertIn('VMCOREINFO', said)

    def test_dump_has_the_bytes_of_qemus(self):
        ours, theirs = self.path('ours'), self.path('theirs')
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        self.dump(self.guest.pid, ours)
        self.guest.dump(theirs)
        with elfcore.Core(ours) as a, elfcore.Core(theirs) as b:
            self.assertEqual(a.ranges(), b.ranges())
            self.assertIsNone(elfcore.first_difference(a, b))

    def read_elf(self, path):
        done = subprocess.run(['eu-readelf', '-h', '-l', '-n', path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=self.env())
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.decode()


class TestRunControl(KvmGuest, test_control.RunTests, guests.GuestCase):
    SPIN = test_control.RunTests.SPIN
    # x86 has none for reads alone.
    WATCHPOINTS = {2: 'watch', 4: 'awatch'}

    def find_target(self):
        return '--attach', str(self.guest.pid)
