# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests themselves: each boots, and what it tells about itself is true."""

import os
import re
import socket
import time

import guests
import harness

LPCR_ILE = 1 << 25


class LinuxTests:
    """What holds for every Linux guest."""

    def read_shared(self, gpa, size):
        with open(self.guest.ram_path, 'rb') as ram:
            return os.pread(ram.fileno(), size, gpa)

    def test_kernel(self):
        with open(os.path.join(self.guest.directory, 'package')) as f:
            self.assertEqual(f.read().split('=')[0], 'linux-image-' + self.guest.release)
        self.assertEqual(self.guest.n_cpus, guests.N_CPUS)

    def test_banner(self):
        banner, = self.guest.run('cat /proc/version')
        self.assertEqual(self.guest.image_memory(self.guest.symbols['linux_banner'], len(banner)).decode(), banner)

    def test_vmcoreinfo(self):
        address, size = self.guest.vmcoreinfo
        self.assertEqual(self.guest.vmcoreinfo_values()['OSRELEASE'], self.guest.release)
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        ram = self.guest.pmemsave(0, self.guest.megabytes << 20)
        found = [m.start() - 12 for m in re.finditer(rb'VMCOREINFO\0\0OSRELEASE=', ram)]
        self.assertEqual(found, [address])
        if self.guest.memory != 'private':
            self.assertEqual(self.read_shared(address, size), ram[address:address + size])

    def test_tasks_stay(self):
        for pid, name in self.guest.tasks.items():
            self.assertEqual(self.guest.run('cat /proc/%d/comm' % pid), [name])

    def test_symbols_by_name(self):
        self.assertLess(self.guest.symbols['_stext'], self.guest.symbol('schedule'))
        self.assertLess(self.guest.symbol('schedule'), self.guest.symbols['_etext'])

    def test_second_monitor(self):
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(self.guest.qmp_path)
        self.assertIn(b'"QMP"', sock.recv(4096))

    def test_stub(self):
        """A client that finds the guest running is greeted with a stop; detaching makes it run."""
        self.assertIsNone(self.guest.stub_filename())
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        self.guest.start_stub()
        self.assertTrue(self.guest.stub_filename().startswith('disconnected:unix:'))
        client = self.connect_unix(self.guest.gdb_path)
        self.assertIn('PacketSize', client.ask('qSupported'))
        self.assertTrue(self.guest.stub_filename().startswith('unix:'))
        client.detach()
        self.guest.stop_stub()
        self.assertIsNone(self.guest.stub_filename())
        self.guest.run('true')


class TestAmd64(LinuxTests, guests.GuestCase):
    """Address space randomised; five levels of page tables."""

    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64')

    def test_kernel_offset(self):
        offset = int(self.guest.vmcoreinfo_values()['KERNELOFFSET'], 16)
        self.assertEqual(self.guest.symbols['_stext'], 0xffffffff81000000 + offset)

    def test_power_off(self):
        guest = guests.Linux('amd64', stub=True)
        self.addCleanup(guest.close)
        self.assertTrue(guest.stub_filename().startswith('disconnected:unix:'))
        guest.power_off()


class TestAmd64Nokaslr(LinuxTests, guests.GuestCase):
    """Four levels of page tables, RAM in a file, and busy in user space."""

    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64', append='nokaslr spin=2', cpu='qemu64', memory='file')

    def test_not_moved(self):
        self.assertEqual(self.guest.symbols['_stext'], 0xffffffff81000000)
        self.assertEqual(self.guest.symbol('startup_64'), 0xffffffff81000000)

    def test_spinners_go_on(self):
        before = self.guest.count()
        self.assertEqual(len(before), 2)
        harness.wait_for(lambda: all(b > a for a, b in zip(before, self.guest.count())), 20, 'spinners count')

    def test_nothing_runs_while_stopped(self):
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        self.assertFalse(self.guest.running())
        registers = self.guest.hmp('info registers -a')
        time.sleep(0.2)
        self.assertEqual(self.guest.hmp('info registers -a'), registers)
        self.guest.cont()
        self.guest.run('true')


class TestS390x(LinuxTests, guests.GuestCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('s390x')

    def test_lowcore_points_to_vmcoreinfo(self):
        self.assertEqual(int.from_bytes(self.guest.pmemsave(0xe0c, 8), 'big'), self.guest.vmcoreinfo[0])

    def test_panic(self):
        guest = guests.Linux('s390x', cpu='qemu')
        self.addCleanup(guest.close)
        guest.panic()
        harness.wait_for(lambda: guest.qmp('query-status')['status'] == 'guest-panicked', 20, 'QEMU hears of the panic')


class Ppc64el(LinuxTests):
    def test_mmu(self):
        self.assertIn('MMU\t\t: ' + self.mmu, self.guest.run('cat /proc/cpuinfo'))

    def test_interrupts_are_little_endian(self):
        self.assertTrue(lpcr(self.guest) & LPCR_ILE)


class TestPpc64elRadix(Ppc64el, guests.GuestCase):
    mmu = 'Radix'

    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el', memory='private')


class TestPpc64elHash(Ppc64el, guests.GuestCase):
    mmu = 'Hash'

    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el', cpu='POWER8')


class TestSlof(guests.GuestCase):
    @classmethod
    def make_guest(cls):
        return guests.Slof()

    def test_interrupts_are_big_endian(self):
        self.assertFalse(lpcr(self.guest) & LPCR_ILE)

    def test_answers(self):
        start = len(self.guest.console.text)
        self.guest.console.type('6 7 * .\r')
        self.guest.console.wait_for(r'\b2a\b', 20, start)


def lpcr(guest):
    return int(re.search(r'LPCR ([0-9a-f]+)', guest.hmp('info registers')).group(1), 16)
