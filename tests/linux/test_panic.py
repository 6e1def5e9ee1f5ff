# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux guests of a QEMU panic, and are dumped in that moment."""

import guests
import panics


class Emulated(panics.PanicTests):
    arch = None

    def setUp(self):
        super().setUp()
        # QEMU hears of it on all but amd64, and would end.
        self.guest = guests.Linux(self.arch, options=('-action', 'panic=pause'))
        self.addCleanup(self.guest.close)

    def target(self):
        return '--qmp', self.guest.qmp_path


class TestAmd64(Emulated, guests.harness.Case):
    arch = 'amd64'
    PC = 112 + 16 * 8, 'Q'


class TestS390x(Emulated, guests.harness.Case):
    arch = 's390x'
    PC = 120, 'Q'


class TestPpc64el(Emulated, guests.harness.Case):
    arch = 'ppc64el'
    ENTRY = 8
    PC = 112 + 32 * 8, 'Q'
