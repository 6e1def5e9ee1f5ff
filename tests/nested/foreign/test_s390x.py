# SPDX-License-Identifier: GPL-3.0-or-later
"""
An s390x host as far as an emulator shows one: it has no KVM, so what is done to a
VMM's threads is done to a stand-in of one, by the unit tests.
"""

import unittest

import harness
import machine

UNIT_SECONDS = 600


class TestS390x(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = machine.Machine('s390x')

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def unit(self, name):
        status, said = self.machine.shell('cd /tmp && CK_TIMEOUT_MULTIPLIER=10 %s' % self.machine.program('tests/' + name),
                                          UNIT_SECONDS)
        text = '\n'.join(said)
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r'(?m)^100%: Checks: [1-9]\d*, Failures: 0, Errors: 0$')

    def test_threads_and_injected_calls(self):
        self.unit('check_tracee')

    def test_processes(self):
        self.unit('check_proc')

    def test_registers_of_a_fake_kvm(self):
        self.unit('check_kvm_s390x')
        self.unit('check_kvm_debug_s390x')

    def test_says_that_there_is_no_guest(self):
        status, said = self.machine.shell(self.machine.program('vmgdbserver') + ' dump -q --attach 1 /dev/null 2>&1')
        self.assertEqual(status, 1)
        self.assertIn('process 1 runs no KVM guest', '\n'.join(said))
