# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMM goes away under our hands: a clear error, no hang, no partial file."""

import os
import subprocess

import harness
import pattern


class TestVmmDeath(harness.Case):
    def big_vmm(self):
        return self.vmm('--ram', '0x20000000', '--touch', '100')

    def kill(self, vmm):
        vmm.proc.kill()
        # Its threads are ours to let go of before it can be reaped.
        harness.wait_for(lambda: vmm.proc.poll() is not None, 10, 'the VMM is gone')

    def test_in_the_middle_of_a_dump_to_a_pipe(self):
        vmm = self.big_vmm()
        proc = self.popen('dump', '-q', *harness.target_of(vmm), '-', stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(len(proc.stdout.read(1 << 20)), 1 << 20)
        vmm.proc.kill()
        _, err = proc.communicate(timeout=30)
        self.check_error(harness.Result(proc.returncode, '', err.decode()), 1, str(vmm.pid))
        self.kill(vmm)

    def test_in_the_middle_of_a_dump_to_a_file(self):
        """Killed later and later, until a dump is whole before that."""
        for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
            vmm = self.big_vmm()
            out = self.path('out-%g' % delay)
            os.mkdir(out)
            proc = self.popen('dump', '-q', *harness.target_of(vmm), os.path.join(out, 'core'),
                              stderr=subprocess.PIPE)
            harness.time.sleep(delay)
            vmm.proc.kill()
            _, err = proc.communicate(timeout=30)
            self.kill(vmm)
            if not proc.returncode:
                self.assertEqual(os.listdir(out), ['core'])
                continue
            self.check_error(harness.Result(proc.returncode, '', err.decode()), 1)
            self.assertEqual(os.listdir(out), [], 'left behind, killed after %g s' % delay)

    def test_in_a_session(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('?')
        vmm.proc.kill()
        try:
            for packet in ('m%x,8' % pattern.GVA_DATA, 'g', 'qfThreadInfo', '?'):
                reply = rsp.ask(packet, 10)
            self.assertRegex(rsp.ask('m%x,8' % pattern.GVA_DATA, 10), '^[EWX]', reply)
            rsp.ask('D', 10)
        except harness.Closed:
            pass
        rsp.hang_up()
        self.kill(vmm)

    def test_while_continued(self):
        """gdb learns that its program has ended."""
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('?')
        rsp.send('c')
        vmm.counts_on()
        vmm.proc.kill()
        try:
            self.assertRegex(rsp.receive(10).decode(), '^[WX]')
        except harness.Closed:
            pass
        rsp.hang_up()
        self.kill(vmm)

    def test_between_clients(self):
        vmm = self.vmm()
        server, path = self.listen_unix(vmm)
        vmm.proc.kill()
        vmm.proc.wait()
        try:
            rsp = self.connect_unix(path)
            self.assertRegex(rsp.ask('?', 10), '^[EWX]')
        except (harness.Closed, ConnectionError, FileNotFoundError):
            pass
        if server.poll() is None:
            server.terminate()
        server.wait(10)

    def test_in_gdb(self):
        vmm = self.vmm()
        out = self.gdb(vmm, 'p/x $rbx', 'shell kill -9 %d' % vmm.pid, 'maintenance flush register-cache',
                       'x/gx %#x' % pattern.GVA_DATA, seconds=60)
        self.assertIn('%#x' % pattern.value('G', 0, 0, 3), out)
        self.kill(vmm)

    def test_in_the_console(self):
        vmm = self.vmm()
        proc = self.popen('console', *harness.target_of(vmm), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
        proc.stdin.write(b'xp /1gx 0x%x\n' % pattern.GPA_DATA)
        proc.stdin.flush()
        harness.wait_for(lambda: harness.traced(vmm), 10, 'attach')
        vmm.proc.kill()
        proc.communicate(b'info registers\nxp /1gx 0\nexit\n', timeout=20)
        self.kill(vmm)

    def test_qemu_quits_in_a_session(self):
        qemu = self.qemu()
        rsp = self.rsp(qemu)
        rsp.ask('?')
        rsp.send('c')
        qemu.counts_on()
        qemu.qmp('quit')
        try:
            self.assertRegex(rsp.receive(10).decode(), '^[WX]')
        except harness.Closed:
            pass
        qemu.proc.wait(10)
        rsp.hang_up()
