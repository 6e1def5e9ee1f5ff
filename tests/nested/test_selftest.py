# SPDX-License-Identifier: GPL-3.0-or-later
"""What our self-test finds that KVM does, where it is known to do all that the processor does: on SVM."""

import re

import harness


# QEMU 10.0 emulates an SVM that does not intercept the exception of int3, as a processor does.
NOT_EMULATED = {'software breakpoints'}


class TestSelftest(harness.Case):
    def test_all_that_there_is(self):
        out = self.check_ok(self.console(self.vmm(), 'info status')).out
        line, = re.findall(r"^this host's KVM does: (.*)$", out, re.M)
        found = dict(part.rsplit(' ', 1) for part in line.split(', '))
        self.assertEqual(len(found), 6, line)
        self.assertLessEqual({name for name, answer in found.items() if answer != 'yes'}, NOT_EMULATED, line)
