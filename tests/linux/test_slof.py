# SPDX-License-Identifier: GPL-3.0-or-later
"""Big-endian ppc64: a pseries machine in its firmware, which leaves LPCR[ILE] as it is at reset."""

import re

import elfcore
import guests
import readers

EM_PPC64 = 21

# QEMU's `info registers` in its own words, and gdb's names.
HMP_NAMES = {'NIP': 'pc', 'LR': 'lr', 'CTR': 'ctr', 'XER': 'xer', 'MSR': 'msr', 'CR': 'cr'}


def hmp_registers(text):
    """name -> value of one vCPU."""
    found = {HMP_NAMES[name]: int(value, 16)
             for name, value in re.findall(r'\b(NIP|LR|CTR|XER|MSR|CR) +([0-9a-f]+)\b', text)}
    for first, values in re.findall(r'^GPR(\d\d)((?: [0-9a-f]{16})+)', text, re.M):
        found.update(('r%d' % (int(first) + i), int(value, 16)) for i, value in enumerate(values.split()))
    return found


class TestSlof(guests.GuestCase):
    @classmethod
    def make_guest(cls):
        return guests.Slof()

    def setUp(self):
        super().setUp()
        self.guest.stop()
        self.addCleanup(self.guest.cont)
        self.target = ('--qmp', self.guest.qmp_path)

    def check_registers(self, *words):
        """Of all vCPUs, of which SLOF has started the first alone."""
        found = readers.registers_of_threads(self, guests.N_CPUS, *words)
        for cpu, shown in enumerate(found):
            expected = hmp_registers(self.guest.qmp(
                'human-monitor-command', **{'command-line': 'info registers', 'cpu-index': cpu}))
            self.assertEqual(len(expected), 32 + len(HMP_NAMES))
            self.assertEqual({name: int(shown[name], 16) for name in expected}, expected)
        self.assertNotEqual(found[0], found[1])

    def core(self):
        path = self.path('core')
        self.dump(self.target, path)
        return path

    def test_header(self):
        with elfcore.Core(self.core()) as core:
            self.assertEqual((core.order, core.elf_class, core.machine), ('>', elfcore.ELFCLASS64, EM_PPC64))

    def test_gdb_reads_the_core(self):
        path = self.core()
        self.assertIn('big endian', readers.gdb(self, '-c', path, '-ex', 'show endian'))
        self.check_registers('-c', path)

    def test_gdb_reads_the_guest(self):
        self.check_registers(*readers.remote(self.target, little=False))

    def test_gdb_reads_the_core_through_us(self):
        self.check_registers(*readers.remote(self.core(), little=False))

    def test_readers(self):
        """It is no Linux: those that take any core."""
        path = self.core()
        readers.run(self, 'eu-readelf', '-a', path)
        self.assertNotIn('Warning', readers.run(self, 'readelf', '-a', '-W', path))
