# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux as a guest of KVM on SVM panics, and is dumped in that moment by its QEMU's pid."""

import os
import sys

import harness

sys.path.insert(0, os.path.join(harness.TOP, 'tests', 'linux'))
import kvm_guest
import panics


class TestKvmPanic(panics.PanicTests, harness.Case):
    PC = 112 + 16 * 8, 'Q'

    def setUp(self):
        super().setUp()
        self.guest = kvm_guest.boot(megabytes=256)
        self.addCleanup(self.guest.close)

    def target(self):
        return '--attach', str(self.guest.pid)
