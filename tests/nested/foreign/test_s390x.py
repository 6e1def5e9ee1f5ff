# SPDX-License-Identifier: GPL-3.0-or-later
"""
An s390x host as far as an emulator shows one: it has no KVM, so what is done to a
VMM's threads is done to a stand-in of one, by the unit tests.
"""

import unittest

import machine


class TestS390x(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = machine.Machine('s390x')

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def test_threads_and_injected_calls(self):
        self.machine.check_unit(self, 'check_tracee')

    def test_memory_of_a_big_endian_kernel(self):
        self.machine.check_unit(self, 'check_kpeek')

    def test_memory_slots(self):
        """Types and structs as a big-endian host has them."""
        self.machine.check_unit(self, 'check_btf')
        self.machine.check_unit(self, 'check_kvm_slots')

    def test_a_fake_kvm(self):
        self.machine.check_unit(self, 'check_kvm_s390x')
        self.machine.check_unit(self, 'check_kvm_debug_s390x')

    def test_says_that_there_is_no_guest(self):
        status, said = self.machine.shell(self.machine.program('vmgdbserver') + ' dump -q --attach 1 /dev/null 2>&1')
        self.assertEqual(status, 1)
        self.assertIn('process 1 runs no KVM guest', '\n'.join(said))
