# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred times in and out: the VMMs are as they were."""

import harness

CYCLES = harness.times(100)


class TestCycles(harness.Case):
    def cycle(self, target):
        rsp = self.rsp(target)
        self.assertRegex(rsp.ask('?'), '^[TS]')
        self.assertTrue(rsp.ask('g'))
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(rsp.proc.returncode, 0)

    def test_test_vmm(self):
        vmm = self.vmm()
        self.cycle(vmm)
        look = harness.Look(vmm.pid)
        for _ in range(CYCLES):
            before = vmm.peek_counters()
            self.cycle(vmm)
            vmm.check_alive()
        vmm.counts_on()
        self.assertNotEqual(vmm.peek_counters(), before)
        look.check_same(self)

    def test_qemu(self):
        qemu = self.qemu('-smp', '2')
        self.cycle(qemu)
        look = harness.Look(qemu.pid)
        for _ in range(CYCLES):
            self.cycle(qemu)
            self.assertTrue(qemu.running())
        qemu.counts_on()
        look.check_same(self, steady=False)

    def test_many_clients_of_one_server(self):
        """The guest runs in between, and nothing gathers in the server either."""
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        server, path = self.listen_unix(vmm)
        for n in range(CYCLES):
            rsp = self.connect_unix(path)
            self.assertRegex(rsp.ask('?'), '^[TS]')
            rsp.ask('D')
            rsp.close()
            if n == 0:
                first = len(harness.fds(server.pid))
        vmm.counts_on()
        harness.wait_for(lambda: len(harness.fds(server.pid)) <= first, 5, 'descriptors of the server')
        server.terminate()
        self.assertEqual(server.wait(10), 0)
        look.check_same(self)
