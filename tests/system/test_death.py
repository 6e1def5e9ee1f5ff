# SPDX-License-Identifier: GPL-3.0-or-later
"""Sudden death of our processes, at every step one after the other and at random: the VMM never notices."""

import os
import random
import signal
import subprocess
import time

import harness

STEPS = os.path.join(harness.BUILD, 'tests', 'vmgdbserver-steps')
KILLS = harness.times(100)
# How soon a guest must go on when its front end is gone.
GOES_ON = 1.0


def guardian_of(pid):
    """The child of ours that holds the VMM; None when there is none (yet)."""
    for child in harness.children(pid):
        try:
            with open('/proc/%d/comm' % child) as f:
                if f.read().strip() == 'vmgdb-guardian':
                    return child
        except (FileNotFoundError, ProcessLookupError):
            pass
    return None


def is_held(guardian):
    """Stopped by the signal of its step."""
    try:
        with open('/proc/%d/stat' % guardian) as f:
            return f.read().rpartition(')')[2].split()[0] == 'T'
    except (FileNotFoundError, ProcessLookupError):
        return False


def framed(payload):
    return b'$%s#%02x' % (payload, sum(payload) & 0xff)


def kill_all(proc, rand, seconds=0.12):
    """Front end and guardian, at any moment of the first seconds; first one, then the other, in either order."""
    time.sleep(rand.uniform(0, seconds))
    guardian = guardian_of(proc.pid)
    victims = [proc.pid] + ([guardian] if guardian else [])
    rand.shuffle(victims)
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
    proc.wait()


LOOKS = 3


class StepCase(harness.Case):
    """The program built so that it dies, or stops, behind each thing it does to the VMM."""

    def steps_of(self, vmm, who, words, stdin=b''):
        return self.steps(vmm, words, stdin, STEP_WHO=who)

    def steps(self, vmm, words, stdin=b'', **env):
        """Runs it; the names of the steps that it came to, and 'end' where it died."""
        log = self.path('log')
        if os.path.exists(log):
            os.unlink(log)
        proc = subprocess.Popen([STEPS, *words, '--attach', str(vmm.pid)], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env=dict(self.env(), STEP_LOG=log, **env))
        self.addCleanup(harness._end, proc)
        proc.communicate(stdin, timeout=harness.patience(60))
        with open(log) as f:
            return f.read().splitlines()

    def each_step(self, vmm, who, words, least, check, stdin=b'', chosen=enumerate):
        """chosen: which of the names to die at, as pairs of a number from 1 and the name."""
        # The shortest: how many steps a stop takes varies with what the threads are doing.
        names = list(chosen(min((self.steps_of(vmm, who, words, stdin) for _ in range(LOOKS)), key=len), 1))
        self.assertGreaterEqual(len(names), least, 'steps of the ' + who)
        died = 0
        tried = harness.some(names)
        for at, name in tried:
            with self.subTest(who=who, step=at, name=name):
                died += 'end' in self.steps(vmm, words, stdin, STEP_WHO=who, STEP_AT=str(at), STEP_SIGNAL='9')
                check()
                # A guardian without its front end may still be on its way out.
                harness.wait_for(lambda: not harness.traced(vmm), 10, 'pid %d is let go' % vmm.pid)
        self.assertGreaterEqual(died, len(tried) * 9 // 10)


class TestEveryStep(StepCase):
    WORDS = ('console', '-c', 'info registers')

    def test_guardian_dies_test_vmm(self):
        """KVM_RUN and epoll_wait may show EINTR when the guardian dies on its way: any tracer's death does that."""
        vmm = self.vmm('--tolerate-eintr')
        look = harness.Look(vmm.pid)
        self.each_step(vmm, 'guardian', ('console', '-c', 'info registers -a'), 120, vmm.counts_on)
        look.check_same(self)

    def test_guardian_dies_while_setting_registers(self):
        vmm = self.vmm('--cpus', '1', '--tolerate-eintr')
        look = harness.Look(vmm.pid)
        xmm15 = 40 + 15
        packets = b''.join(map(framed, (b'QStartNoAckMode', b'P%x=%s' % (xmm15, b'5a' * 16), b'D')))
        self.each_step(vmm, 'guardian', ('-',), 120, vmm.counts_on, packets)
        look.check_same(self)

    def test_front_end_dies_test_vmm(self):
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        self.each_step(vmm, 'front', ('console', '-c', 'info registers -a'), 6,
                       lambda: vmm.counts_on(seconds=GOES_ON))
        look.check_same(self)

    def test_jailed_vmm(self):
        """Every thread has a filter that ends the process for what KVM_RUN does not need."""
        vmm = self.vmm('--cpus', '1', '--seccomp')
        self.each_step(vmm, 'front', ('console', '-c', 'info registers'), 6,
                       lambda: vmm.counts_on(seconds=GOES_ON))

    def test_qemu(self):
        qemu = self.qemu('-smp', '1')
        self.each_step(qemu, 'guardian', self.WORDS, 70, lambda: self.assertTrue(qemu.running()))
        qemu.counts_on()
        self.each_step(qemu, 'front', self.WORDS, 6, lambda: self.assertTrue(qemu.running()))
        qemu.counts_on()

    def test_front_end_hangs(self):
        """A stopped front end holds the guest, as it should; killed it lets go."""
        vmm = self.vmm()
        names = self.steps_of(vmm, 'front', ('console', '-c', 'info registers'))
        for at in range(1, len(names) + 1):
            proc = subprocess.Popen([STEPS, 'console', '-c', 'info registers', '--attach', str(vmm.pid)],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                    env=dict(self.env(), STEP_WHO='front', STEP_AT=str(at), STEP_SIGNAL='19'))
            self.addCleanup(harness._end, proc)
            os.waitpid(proc.pid, os.WUNTRACED)
            os.kill(proc.pid, signal.SIGKILL)
            proc.wait()
            vmm.counts_on(seconds=GOES_ON)

    def test_vmm_dies(self):
        """At every fifth step of the guardian: the error says so, and the VMM's own parent can reap it."""
        names = self.steps_of(self.vmm('--cpus', '1'), 'guardian', self.WORDS)
        for at in harness.some(range(1, len(names) + 1, 5)):
            vmm = self.vmm('--cpus', '1')
            proc = subprocess.Popen([STEPS, *self.WORDS, '--attach', str(vmm.pid)], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                    env=dict(self.env(), STEP_WHO='guardian', STEP_AT=str(at), STEP_SIGNAL='19'))
            self.addCleanup(harness._end, proc)
            harness.wait_for(lambda: is_held(guardian_of(proc.pid) or 0) or proc.poll() is not None, 10, 'the step')
            guardian = guardian_of(proc.pid)
            vmm.proc.kill()
            if guardian:
                os.kill(guardian, signal.SIGCONT)
            _, err = proc.communicate(timeout=harness.patience(10))
            with self.subTest(step=at, name=names[at - 1]):
                if proc.returncode:
                    self.assertRegex(err.decode(), 'process %d,? has exited' % vmm.pid)
                harness.wait_for(lambda: vmm.proc.poll() is not None, 5, 'the VMM is reaped')


    def test_guardian_hangs(self):
        """A stopped guardian is given up and ended; the VMM goes on."""
        vmm = self.vmm('--tolerate-eintr')
        start = time.monotonic()
        steps = self.steps(vmm, self.WORDS, STEP_WHO='guardian', STEP_AT='60', STEP_SIGNAL='19')
        self.assertIn('end', steps)
        self.assertLess(time.monotonic() - start, 30)
        vmm.counts_on()


class TestRandomKills(harness.Case):
    """SIGKILL of what a normal program consists of, at moments that nobody chose."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(7)

    def work(self, vmm, n):
        """One of: a dump, a gdb-like session, a console."""
        kind = n % 3
        if kind == 0:
            return self.popen('dump', '-q', '--attach', vmm.pid, self.path('core'), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kind == 1:
            proc = self.popen('-', '--attach', vmm.pid, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
            try:
                packets = [b'QStartNoAckMode'] + 50 * [b'g', b'm0,1000'] + [b'D']
                proc.stdin.write(b''.join(map(framed, packets)))
                proc.stdin.flush()
            except BrokenPipeError:
                pass
            return proc
        return self.popen('console', '--attach', vmm.pid, '-c', 'info registers -a', '-c', 'stop', '-c', 'cont',
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_all(self, vmm, n):
        kill_all(self.work(vmm, n), self.random)

    def test_test_vmm(self):
        vmm = self.vmm('--tolerate-eintr')
        look = harness.Look(vmm.pid)
        for n in range(KILLS):
            self.kill_all(vmm, n)
            vmm.counts_on()
        look.check_same(self)

    def test_qemu(self):
        qemu = self.qemu('-smp', '2')
        for n in range(KILLS):
            self.kill_all(qemu, n)
            self.assertTrue(qemu.running())
        qemu.counts_on(60)

    def test_front_end_alone(self):
        """The guardian is left to undo everything: within a second, and with no EINTR to be seen."""
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        for n in range(KILLS):
            proc = self.work(vmm, n)
            time.sleep(self.random.uniform(0, 0.12))
            proc.kill()
            proc.wait()
            vmm.counts_on(seconds=GOES_ON)
        look.check_same(self)

    def test_guardian_dies_between_clients(self):
        """It holds nothing then: the server starts another for the next client."""
        vmm = self.vmm()
        server, path = self.listen_unix(vmm)
        for _ in range(3):
            rsp = self.connect_unix(path)
            self.assertRegex(rsp.ask('?'), '^[TS]')
            self.assertEqual(rsp.ask('D'), 'OK')
            rsp.close()
            vmm.counts_on(seconds=GOES_ON)
            os.kill(harness.wait_for(lambda: guardian_of(server.pid), 5, 'guardian'), signal.SIGKILL)
            harness.wait_for(lambda: not guardian_of(server.pid), 5, 'the end of the guardian')
        self.assertIsNone(server.poll())
        vmm.counts_on()

    def test_nothing_is_left_of_a_dump(self):
        vmm = self.vmm('--tolerate-eintr')
        for n in range(20):
            self.kill_all(vmm, 0)
            self.assertEqual([f for f in os.listdir(self.dir) if f != 'core'], [])
