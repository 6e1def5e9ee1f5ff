# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of `dump --on-panic`, whatever way the guest is reached; for test cases of guests.GuestCase."""

import os
import select
import signal
import struct
import subprocess

import elfcore
import harness

WAITING = b'waiting for the guest to panic\n'


class PanicTests:
    """Each test has a guest of its own, which nothing comes after. target: how the server reaches it."""

    ENTRY = 0              # where a call of a function in the kernel lands behind its symbol
    PC = None              # offset, and format, in PRSTATUS

    def wait_for_panic(self, path, *options):
        proc = self.popen('dump', '--on-panic', *harness.target_of(self.target()), *options, path,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ready, _, _ = select.select([proc.stderr], [], [], harness.patience(60))
        self.assertTrue(ready, 'nothing is said')
        self.assertEqual(proc.stderr.readline(), WAITING)
        return proc

    def pcs(self, path):
        with elfcore.Core(path) as core:
            at, form = self.PC
            return [struct.unpack_from(core.order + form, desc, at)[0] for desc in core.notes_of('CORE', 1)]

    def check_core(self, path):
        """One vCPU stands in the panic, the message is in memory, and the others were not stopped yet."""
        at = self.guest.symbols['__crash_kexec'] + self.ENTRY
        self.assertEqual(self.pcs(path).count(at), 1, [hex(pc) for pc in self.pcs(path)])
        with open(path, 'rb') as f:
            self.assertIn(b'sysrq triggered crash', f.read())

    def test_panic(self):
        path = self.path('vmcore')
        self.guest.symbol('__crash_kexec')
        proc = self.wait_for_panic(path)
        self.assertEqual(self.guest.run('echo alive'), ['alive'])
        self.assertFalse(os.path.exists(path))
        self.guest.panic()
        out, err = proc.communicate(timeout=harness.patience(120))
        self.assertEqual((proc.returncode, out), (0, b''), err)
        self.assertTrue(err.startswith(b'the guest has panicked\n'), err)
        self.check_core(path)
        harness.wait_for(self.is_over, 60, 'the end of the panic')
        again = self.path('again')
        done = self.run_server('dump', '--on-panic', *harness.target_of(self.target()), again, seconds=120)
        self.check_ok(done)
        self.assertTrue(done.err.startswith('the guest has panicked\n'), done.err)
        with open(again, 'rb') as f:
            self.assertIn(b'Kernel panic - not syncing: sysrq triggered crash', f.read())

    def is_over(self):
        """The kernel has come to its end, or QEMU has been told and pauses it."""
        return 'end Kernel panic' in self.guest.console.text or not self.guest.running()

    def test_no_panic(self):
        """It was not waited for to the end: the guest is as it was, and there is no file."""
        path = self.path('vmcore')
        for ending, status in ((signal.SIGTERM, 1), (signal.SIGKILL, -9)):
            with self.subTest(ending=ending):
                proc = self.wait_for_panic(path)
                proc.send_signal(ending)
                _, err = proc.communicate(timeout=harness.patience(60))
                self.assertEqual(proc.returncode, status)
                if status == 1:
                    self.assertIn(b'has not panicked so far', err)
                self.assertEqual(os.listdir(os.path.dirname(path)), self.files)
                self.assertEqual(self.guest.run('echo alive'), ['alive'])

    def setUp(self):
        super().setUp()
        self.files = os.listdir(os.path.dirname(self.path('vmcore')))
