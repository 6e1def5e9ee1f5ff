# SPDX-License-Identifier: GPL-3.0-or-later
"""Sudden death while something is armed: nothing of it stays, and the VMM never notices."""

import os
import random
import re
import signal
import subprocess
import time

import harness
import pattern
from test_death import STEPS, framed, guardian_of, is_held

KILLS = harness.times(100, least=20)
INC, JUMP = pattern.GVA_CODE, pattern.GVA_CODE + 8
GOES_ON = 2.0


def packets(*payloads):
    return b''.join(framed(p.encode()) for p in payloads)


class DeathCase(harness.Case):
    def look(self, vmm):
        """Its guest's memory; all of it is compared when the test ends."""
        memory = harness.Untouched(vmm)
        self.addCleanup(memory.check)
        return memory

    def check_clean(self, vmm, memory):
        """Its guest goes on, with its own memory, and nothing stops it any more."""
        harness.wait_for(lambda: not harness.traced(vmm), GOES_ON, 'the guest is let go')
        vmm.counts_on()
        memory.check_code()
        for exits in vmm.command('exits'):
            self.assertNotIn('4', exits, 'KVM_EXIT_DEBUG')
            self.assertNotIn('17', exits, 'KVM_EXIT_INTERNAL_ERROR')

    def run_steps(self, vmm, script, **env):
        """The program that dies at a chosen step; the steps it came to."""
        log = self.path('log')
        if os.path.exists(log):
            os.unlink(log)
        proc = subprocess.Popen([STEPS, '-', '--attach', str(vmm.pid)], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env=dict(self.env(), STEP_LOG=log, **env))
        self.addCleanup(harness._end, proc)
        try:
            proc.stdin.write(script)
            proc.stdin.flush()
        except BrokenPipeError:
            pass
        proc.wait(harness.patience(60))
        harness._end(proc)
        with open(log) as f:
            return f.read().splitlines()


class TestFrontEnd(DeathCase):
    """Breakpoints are armed and hit, and steps are under way, when it dies."""

    ARM = ('QStartNoAckMode', 'Z1,%x,1' % INC, 'Z0,%x,1' % JUMP)

    def work(self, vmm, n):
        proc = self.popen('-', '--attach', vmm.pid, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
        run = ('vCont;c', 'vCont;s:1', 'vCont;s:1;c')[n % 3]
        try:
            proc.stdin.write(packets(*self.ARM, *[run] * 400))
            proc.stdin.flush()
        except BrokenPipeError:
            pass
        return proc

    def test_random(self):
        rand = random.Random(11)
        vmm = self.vmm()
        memory, look = self.look(vmm), harness.Look(vmm.pid)
        for n in range(KILLS):
            proc = self.work(vmm, n)
            time.sleep(rand.uniform(0.02, 0.3))
            proc.kill()
            proc.wait()
            self.check_clean(vmm, memory)
        look.maps = harness.maps(vmm.pid)
        look.check_same(self)

    def test_while_it_runs(self):
        """Armed and never hit: the guardian is alone with it."""
        vmm = self.vmm()
        memory = self.look(vmm)
        for n in range(10):
            rsp = self.rsp(vmm)
            rsp.ask('Z1,%x,1' % (INC + 0x800))
            rsp.send('vCont;c')
            time.sleep(0.05)
            rsp.proc.kill()
            self.check_clean(vmm, memory)

    def test_qemu(self):
        rand = random.Random(12)
        qemu = self.qemu('-smp', '2')
        for n in range(harness.times(20)):
            proc = self.popen('-', '--attach', qemu.pid, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
            proc.stdin.write(packets('QStartNoAckMode', 'Z1,fffffff0,1', *['vCont;s:1'] * 50, 'vCont;c'))
            proc.stdin.flush()
            time.sleep(rand.uniform(0.05, 0.5))
            proc.kill()
            proc.wait()
            harness.wait_for(lambda: not harness.traced(qemu), GOES_ON, 'the guest is let go')
            self.assertTrue(qemu.running())
        qemu.counts_on(60)

    def script(self):
        return packets(*self.ARM, 'vCont;c', 'vCont;c', 'vCont;s:1', 'vCont;c', 'z1,%x,1' % INC, 'vCont;c', 'D')

    def test_every_step(self):
        vmm = self.vmm()
        memory = self.look(vmm)
        names = self.run_steps(vmm, self.script(), STEP_WHO='front')
        self.assertGreater(len(names), 30)
        died = 0
        for at in harness.some(range(1, len(names) + 1)):
            with self.subTest(step=at):
                died += 'end' in self.run_steps(vmm, self.script(), STEP_WHO='front', STEP_AT=str(at), STEP_SIGNAL='9')
                self.check_clean(vmm, memory)
        self.assertGreater(died, len(harness.some(names)) * 8 // 10)


class TestVmm(DeathCase):
    """The VMM goes first: the session says so, and its parent can reap it."""

    def check_gone(self, vmm, rsp):
        vmm.proc.kill()
        reply = rsp.receive().decode('latin-1')
        self.assertRegex(reply, '^[XWE]')
        harness.wait_for(lambda: vmm.proc.poll() is not None, 5, 'the VMM is reaped')

    def last_reply(self, rsp):
        """Stops that were under way, then the end."""
        try:
            while re.match(b'T05', reply := rsp.receive()):
                pass
            self.assertRegex(reply, b'^[XWE]')
        except harness.Closed:
            pass
        self.assertEqual(rsp.proc.wait(10), 1)

    def test_while_it_runs(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('Z1,%x,1' % (INC + 0x800))
        rsp.send('vCont;c')
        time.sleep(0.1)
        self.check_gone(vmm, rsp)

    def test_while_it_hits(self):
        rand = random.Random(13)
        for n in range(harness.times(20)):
            vmm = self.vmm()
            rsp = self.rsp(vmm)
            rsp.ask('QStartNoAckMode')
            rsp.ask('Z1,%x,1' % INC)
            for _ in range(200):
                rsp.send('vCont;c')
            time.sleep(rand.uniform(0, 0.1))
            vmm.proc.kill()
            self.last_reply(rsp)
            harness.wait_for(lambda: vmm.proc.poll() is not None, 5, 'the VMM is reaped')

    def test_while_stopped(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('Z1,%x,1' % INC)
        rsp.ask('vCont;c')
        rsp.send('vCont;c')
        self.assertRegex(rsp.receive(), b'^T05')
        vmm.proc.kill()
        harness.wait_for(lambda: vmm.proc.poll() is not None, 5, 'the VMM is reaped')
        self.last_reply(rsp)


class TestGuardian(DeathCase):
    def test_nothing_armed(self):
        """Not even for a breakpoint that was: it is out of the guest once it runs without."""
        vmm = self.vmm('--tolerate-eintr')
        memory = self.look(vmm)
        server, path = self.listen_unix(vmm)
        for n in range(KILLS):
            rsp = self.connect_unix(path)
            rsp.ask('Z1,%x,1' % INC)
            self.assertRegex(rsp.ask('vCont;c'), '^T05')
            rsp.ask('z1,%x,1' % INC)
            rsp.send('vCont;c')
            vmm.counts_on()
            os.kill(guardian_of(server.pid), signal.SIGKILL)
            self.check_clean(vmm, memory)
            rsp.close()
            harness.wait_for(lambda: not guardian_of(server.pid), 5, 'the end of the guardian')
        self.assertFalse(is_held(vmm.pid))

    def test_armed_and_not_hit(self):
        """Another takes out what it left in the VMM; the session is over."""
        vmm = self.vmm('--tolerate-eintr')
        memory = self.look(vmm)
        for running in (True, False) * 3:
            rsp = self.rsp(vmm)
            rsp.ask('QStartNoAckMode')
            self.assertEqual(rsp.ask('Z1,%x,1' % (INC + 0x800)), 'OK')
            rsp.send('vCont;c')
            time.sleep(0.05)
            if not running:
                rsp.interrupt()
                self.assertRegex(rsp.receive(), b'^T02')
            os.kill(guardian_of(rsp.proc.pid), signal.SIGKILL)
            self.assertEqual(rsp.proc.wait(10), 1)
            self.assertIn(b'guardian process of VMM %d has ended' % vmm.pid, rsp.proc.stderr.read())
            self.check_clean(vmm, memory)
            rsp = self.rsp(vmm)
            self.assertEqual(rsp.ask('Z1,%x,1' % (INC + 0x800)), 'OK', 'debug registers are free')
            self.assertEqual(rsp.detach(), 'OK')

    def test_every_step_while_armed(self):
        """Nothing is hit: whatever it was about, another takes it out of the VMM."""
        vmm = self.vmm('--cpus', '1', '--tolerate-eintr')
        memory = self.look(vmm)
        nowhere = 'Z1,%x,1' % (INC + 0x800)
        script = packets('QStartNoAckMode', nowhere) + 2 * (packets('vCont;c') + b'\x03') + packets('D')
        names = self.run_steps(vmm, script, STEP_WHO='guardian')
        self.assertGreater(len(names), 100)
        died = 0
        tried = harness.some(range(1, len(names) + 1, 3))
        for at in tried:
            with self.subTest(step=at, name=names[at - 1]):
                died += 'end' in self.run_steps(vmm, script, STEP_WHO='guardian', STEP_AT=str(at), STEP_SIGNAL='9')
                self.check_clean(vmm, memory)
                rsp = self.rsp(vmm)
                self.assertEqual(rsp.ask('Z1,%x,1' % (INC + 0x800)), 'OK', 'debug registers are free')
                self.assertEqual(rsp.detach(), 'OK')
        self.assertGreater(died, len(tried) * 8 // 10)

    def test_a_new_vcpu_while_armed(self):
        """It is armed as soon as it runs, and so it is to be healed."""
        qemu = self.qemu('-smp', '1,maxcpus=2')
        free = next(c for c in qemu.qmp('query-hotpluggable-cpus') if 'qom-path' not in c)
        rsp = self.rsp(qemu)
        self.assertEqual(rsp.ask('Z1,123450,1'), 'OK')
        rsp.send('vCont;c')
        qemu.qmp('device_add', driver=free['type'], id='new', **free['props'])
        time.sleep(0.3)
        os.kill(guardian_of(rsp.proc.pid), signal.SIGKILL)
        self.assertEqual(rsp.proc.wait(10), 1)
        rsp = self.rsp(qemu)
        self.assertEqual(rsp.ask('qfThreadInfo'), 'm1,2')
        self.assertEqual(rsp.ask('Z1,123450,1'), 'OK', 'debug registers are free')
        self.assertEqual(rsp.detach(), 'OK')
        self.assertTrue(qemu.running())
