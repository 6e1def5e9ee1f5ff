# SPDX-License-Identifier: GPL-3.0-or-later
"""VMMs that the server starts, or waits for: their guests are held before they run, with privileges and without."""

import itertools
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import time

import harness

KILLS = harness.times(20)
GOES_ON = 10

# In place of CAP_BPF and all others: an ordinary user who may open /dev/kvm.
UNPRIVILEGED = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all']
USERS = (('root', []), ('no capabilities', UNPRIVILEGED))

# A user of another name, in a mount namespace where all may open /dev/kvm.
NOBODY = ['unshare', '-m', 'sh', '-e', '-c', '''
mount --make-rprivate /
mount -t tmpfs -o dev,mode=755 none "$0"
mknod -m 666 "$0/kvm" c 10 232
mount --bind "$0/kvm" /dev/kvm
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
''']

FIRMWARE_BYTES = 0x10000
RESET_LINEAR = 0xfffffff0
LOOP_LINEAR = 0xffff0000
COUNTER = 0x500

RIP, CS = 'rip', 'cs'


def firmware():
    """From the reset vector it jumps to its start, where a loop counts in memory."""
    image = bytearray(b'\xf4' * FIRMWARE_BYTES)
    image[0:6] = b'\xff\x06\x00\x05\xeb\xfa'  # inc word [0x500]; jmp to it
    image[0xfff0:0xfff3] = b'\xe9\x0d\x00'    # jmp 0
    return bytes(image)


def is_zombie(pid):
    """Or not even that any more."""
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return True


class Process:
    """One that may have lost its parent, with what subprocess.Popen has."""

    def __init__(self, pid, pipes):
        self.pid, self.stdin, self.stdout = pid, pipes.stdin, pipes.stdout

    def poll(self):
        return 0 if is_zombie(self.pid) else None

    @property
    def returncode(self):
        return self.poll()

    def kill(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait(self, seconds=10):
        harness.wait_for(lambda: self.poll() is not None, seconds, 'the end of process %d' % self.pid)


class StartedVmm(harness.TestVmm):
    """The test VMM as a child of the server, whose standard input and output it has."""

    def __init__(self, server, pid):
        self.server = server
        self.proc, self.pid, self._rest = Process(pid, server), pid, b''

    def read_start(self):
        line = self._line(60)
        if not line.startswith('{'):
            raise AssertionError('test VMM: ' + line)
        self.info = json.loads(line)
        self.vms = self.info['vms']
        self.mode, self.work = self.info['mode'], self.info['work']

    def close(self):
        """The server's own clean-up closes the pipes."""
        self.proc.kill()
        self.proc.wait()


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        harness.require_kvm()
        harness.require_program('setpriv')
        self.numbers = itertools.count()
        os.chmod(self.dir, 0o777)

    def start(self, words, prefix=(), options=()):
        """The server, and the pid of the VMM that it has started."""
        self.socket = self.path('socket%d' % next(self.numbers))
        proc = subprocess.Popen([*prefix, harness.SERVER, 'unix:' + self.socket, *options, '--', *words],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.env())
        self.addCleanup(harness._end, proc)
        line = proc.stderr.readline().decode()
        self.assertRegex(line, r'^Process \S+ created; pid = \d+$')
        pid = int(line.split()[-1])
        self.addCleanup(Process(pid, proc).kill)
        return proc, pid

    def start_testvmm(self, *options, prefix=()):
        server, pid = self.start([harness.TESTVMM, *options], prefix)
        return StartedVmm(server, pid)

    def start_qemu(self, prefix=()):
        harness.require_program(harness.QEMU)
        with open(self.path('bios'), 'wb') as f:
            f.write(firmware())
        server, pid = self.start([harness.QEMU, '-enable-kvm', '-display', 'none', '-nodefaults', '-m', '64', '-smp',
                                  '2', '-bios', self.path('bios')], prefix)
        return server, pid

    def client(self, server):
        """Connects as soon as the guest is there."""
        self.listening(server)
        return self.connect_unix(self.socket)

    def listening(self, server):
        while True:
            line = server.stderr.readline().decode()
            self.assertTrue(line, 'the server says where it listens')
            if line.startswith('Listening on '):
                return

    def registers(self, rsp):
        text, reply = rsp.monitor('info registers')
        self.assertEqual(reply, 'OK')
        return {name: int(value, 16) for name, value in re.findall(r'(\w+)=([0-9a-f]+)', text)}

    def counter(self, pid, rsp):
        """Of the firmware above, read from outside."""
        hva = int(re.search(r'^0{16}-.* hva (0x[0-9a-f]+)', rsp.monitor('info mtree')[0], re.M).group(1), 16)

        def read():
            with open('/proc/%d/mem' % pid, 'rb') as mem:
                mem.seek(hva + COUNTER)
                return int.from_bytes(mem.read(2), 'little')
        return read

    def goes_on(self, read):
        before = read()
        harness.wait_for(lambda: read() != before, GOES_ON, 'the guest goes on from %d' % before)

    def untraced(self, pid):
        harness.wait_for(lambda: all(s['TracerPid'] == '0' for s in harness.task_status(pid).values()), GOES_ON,
                         'pid %d is traced by nobody' % pid)


class TestStart(Case):
    def test_first_instruction(self):
        """QEMU's vCPUs are at the reset vector, nothing has run; a breakpoint on the way is hit."""
        for name, prefix in USERS:
            with self.subTest(user=name):
                server, pid = self.start_qemu(prefix)
                rsp = self.client(server)
                rsp.ask('qSupported:hwbreak+')
                self.assertRegex(rsp.ask('?'), '^T05')
                regs = self.registers(rsp)
                self.assertEqual((regs[RIP], regs[CS]), (0xfff0, 0xf000))
                self.assertEqual(regs['cs_base'], 0xffff0000)
                rsp.physical()
                self.assertEqual(rsp.read(RESET_LINEAR, 3), firmware()[0xfff0:0xfff3])
                self.assertEqual(rsp.read(COUNTER, 2), bytes(2))
                rsp.physical(False)
                read = self.counter(pid, rsp)
                self.assertEqual(rsp.ask('Z1,%x,1' % LOOP_LINEAR), 'OK')
                self.assertRegex(rsp.ask('vCont;c'), '^T05.*hwbreak')
                self.assertEqual(self.registers(rsp)[RIP], 0)
                self.assertEqual(read(), 0)
                self.assertRegex(rsp.ask('vCont;c'), '^T05.*hwbreak')
                self.assertEqual(read(), 1)
                self.assertEqual(rsp.ask('D'), 'OK')
                self.goes_on(read)
                server.terminate()
                self.assertEqual(server.wait(harness.patience(10)), 0)
                self.untraced(pid)
                self.goes_on(read)
                Process(pid, server).kill()

    def test_ordinary_user(self):
        for path in (harness.SERVER, self.dir):
            if subprocess.run([*UNPRIVILEGED, '--reuid=65534', '--regid=65534', '--clear-groups', 'ls', path],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                self.skipTest('user 65534 may not reach ' + path)
        os.mkdir(self.path('device'))
        server, pid = self.start_qemu([*NOBODY, self.path('device')])
        self.assertEqual(harness.task_status(pid)[pid]['CapEff'], '0' * 16)
        rsp = self.client(server)
        self.assertRegex(rsp.ask('?'), '^T05')
        self.assertEqual(self.registers(rsp)[RIP], 0xfff0)
        read = self.counter(pid, rsp)
        self.assertEqual(read(), 0)
        self.assertRegex(rsp.ask('vCont;s:1'), '^T05')
        self.assertEqual(self.registers(rsp)[RIP], 0)
        self.assertEqual(rsp.ask('D'), 'OK')
        self.goes_on(read)
        server.terminate()
        self.assertEqual(server.wait(harness.patience(10)), 0)
        self.untraced(pid)
        self.goes_on(read)

    def test_memory(self):
        """Blocks are what the VMM says, at later stops too, when it has changed them."""
        for name, prefix in USERS:
            with self.subTest(user=name):
                vmm = self.start_testvmm('--change-slots', prefix=prefix)
                rsp = self.client(vmm.server)
                first = self.slots(rsp)
                self.assertEqual(rsp.ask('D'), 'OK')
                vmm.read_start()
                self.assertEqual(first, self.told(vmm.slots()))
                vmm.counts_on()
                now = self.told(vmm.line_after_signal(signal.SIGUSR2)[0]['slots'])
                self.assertNotEqual(now, first)
                for _ in range(3):
                    rsp = self.connect_unix(self.socket)
                    self.assertRegex(rsp.ask('?'), '^T05')
                    self.assertEqual(self.slots(rsp), now)
                    self.assertEqual(rsp.ask('D'), 'OK')
                    vmm.counts_on()
                vmm.server.terminate()
                vmm.server.wait(harness.patience(10))
                self.untraced(vmm.pid)
                vmm.counts_on()
                vmm.close()

    def slots(self, rsp):
        found = re.findall(r'^slot \d+ as-id 0: 0x([0-9a-f]+)-0x([0-9a-f]+) at hva 0x([0-9a-f]+)',
                           rsp.monitor('info mtree')[0], re.M)
        return sorted(tuple(int(n, 16) for n in slot) for slot in found)

    def told(self, slots):
        return sorted((s['gpa'], s['gpa'] + s['bytes'], s['hva']) for s in slots)

    def test_who_leaves_lets_it_run(self):
        """A client that never said continue, one whose connection breaks, and a server that nobody came to."""
        for name, prefix in USERS:
            for way in ('detach', 'cut', 'nobody', 'interrupted'):
                with self.subTest(user=name, way=way):
                    vmm = self.start_testvmm(prefix=prefix)
                    if way == 'nobody':
                        self.listening(vmm.server)
                        vmm.server.terminate()
                        self.assertEqual(vmm.server.wait(harness.patience(10)), 0)
                    else:
                        rsp = self.client(vmm.server)
                        self.assertRegex(rsp.ask('?'), '^T05')
                        if way == 'interrupted':
                            rsp.send('vCont;c')
                            vmm.read_start()
                            rsp.interrupt()
                            self.assertRegex(rsp.receive().decode(), '^T02')
                        if way == 'detach':
                            self.assertEqual(rsp.ask('D'), 'OK')
                        rsp.close()
                    if way != 'interrupted':
                        vmm.read_start()
                    vmm.counts_on()
                    vmm.server.terminate()
                    vmm.server.wait(harness.patience(10))
                    vmm.counts_on()
                    vmm.close()

    def test_early_client(self):
        """One that comes before there is a guest is served when there is."""
        vmm = self.start_testvmm('--paused')
        rsp = self.connect_unix(self.socket)
        rsp.send('?')
        vmm.read_start()
        os.kill(vmm.pid, signal.SIGUSR1)
        self.assertRegex(rsp.receive().decode(), '^T05')
        self.assertEqual(rsp.ask('D'), 'OK')
        vmm.counts_on()
        vmm.close()

    def test_process_group(self):
        """What the terminal sends to us is not for the VMM."""
        vmm = self.start_testvmm()
        self.assertEqual(os.getpgid(vmm.pid), vmm.pid)
        self.client(vmm.server).close()
        vmm.read_start()
        vmm.close()

    def test_standard_output(self):
        """With COMM - that is gdb's: the VMM has none of it."""
        out = self.gdb(('--', harness.TESTVMM), 'info threads', 'detach')
        self.assertRegex(out, r'Thread 2 .*vCPU 1')
        pid = int(re.search(r'created; pid = (\d+)', out).group(1))
        self.addCleanup(Process(pid, subprocess.Popen(['true'])).kill)


class TestEnd(Case):
    def test_vmm_exits(self):
        for name, prefix in USERS:
            with self.subTest(user=name):
                vmm = self.start_testvmm(prefix=prefix)
                rsp = self.client(vmm.server)
                self.assertEqual(rsp.ask('D'), 'OK')
                vmm.read_start()
                vmm.server.stdin.close()
                self.assertEqual(vmm.server.wait(harness.patience(10)), 0)
                self.assertIn('Child exited with status 0', vmm.server.stderr.read().decode())
                vmm.server.stdin = None

    def test_vmm_is_killed(self):
        vmm = self.start_testvmm()
        rsp = self.client(vmm.server)
        rsp.ask('?')
        vmm.proc.kill()
        self.assertEqual(vmm.server.wait(harness.patience(10)), 1)
        self.assertIn('Child terminated with signal = 0x9', vmm.server.stderr.read().decode())

    def test_errors(self):
        for words, status, pattern in (
                (['-', '--', '/no/such/program'], 1, '/no/such/program.*No such file'),
                (['-', '--', '/etc/passwd'], 1, '/etc/passwd.*Permission denied'),
                (['-', '--'], 2, 'PROGRAM'),
                (['--', 'true'], 2, 'no COMM'),
                (['-', '--attach', '1', '--', 'true'], 2, 'more than one'),
                (['-', '--core', 'x', '--', 'true'], 2, 'more than one'),
                (['-', '--wait', '--', 'true'], 2, '--wait'),
                (['-', '--wait', '--core', 'x'], 2, '--wait'),
                (['console', '--wait', '--attach', '1'], 2, '--wait'),
                (['-', '--wait', '--attach', '99999999'], 1, '99999999')):
            with self.subTest(words=words):
                self.check_error(self.run_server(*words), status, pattern)

    def test_no_vmm(self):
        """A program that runs no guest: said in one line behind the one that says that it was started."""
        for words, how in ((['true'], r'has exited before it ran a guest[^\n]* \(-daemonize\) is not followed'),
                           (['sh', '-c', 'exit 3'], 'has exited with status 3 before it ran a guest of KVM'),
                           (['sh', '-c', 'kill -9 $$'], r'was ended by signal 9 \(Killed\) before it [^\n]*')):
            with self.subTest(words=words):
                result = self.run_server('-', '--', *words)
                self.assertEqual(result.status, 1, result)
                self.assertRegex(result.err, r'^Process %s created; pid = \d+\nvmgdbserver: process \d+ %s\n$' % (
                    words[0], how))

    def test_guardian_sees_the_end_late(self):
        """The status is its alone until then."""
        proc = self.popen('-', '--', 'sleep', '60', stderr=subprocess.PIPE)
        pid = int(re.search(r'created; pid = (\d+)', proc.stderr.readline().decode()).group(1))
        guardian = harness.wait_for(lambda: [p for p in harness.children(proc.pid) if p != pid], 5, 'guardian')[0]
        os.kill(guardian, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        harness.wait_for(lambda: is_zombie(pid), 10, 'the end of the program')
        time.sleep(0.1)
        os.kill(guardian, signal.SIGCONT)
        self.assertEqual(proc.wait(harness.patience(10)), 1)
        self.assertRegex(proc.stderr.read().decode(), r': process %d was ended by signal 9 ' % pid)

    def test_signal_while_waiting(self):
        vmm = self.start_testvmm('--paused')
        vmm.read_start()
        vmm.server.terminate()
        self.assertEqual(vmm.server.wait(harness.patience(10)), 0)
        os.kill(vmm.pid, signal.SIGUSR1)
        vmm.counts_on()
        vmm.close()


class TestTerminal(Case):
    def test_terminal(self):
        """The VMM has it while the server is there, then whoever had it before."""
        self.socket = self.path('socket')
        shell, terminal = pty.fork()
        if not shell:
            os.execvpe('sh', ['sh', '-c', '%s unix:%s -- %s; echo ended; sleep 60' % (
                harness.SERVER, self.socket, harness.TESTVMM)], self.env())
        self.addCleanup(os.waitpid, shell, 0)
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.kill, shell, signal.SIGKILL)
        said = self.read_until(terminal, b'Listening on')
        vmm = int(re.search(rb'created; pid = (\d+)', said).group(1))
        self.addCleanup(os.kill, vmm, signal.SIGKILL)
        server = next(child for child in harness.children(shell))
        self.assertEqual(os.tcgetpgrp(terminal), vmm)
        rsp = harness.wait_for(lambda: self.connect_unix(self.socket), 5, 'the server')
        self.assertEqual(rsp.ask('D'), 'OK')
        os.write(terminal, b'counters\n')
        self.read_until(terminal, b'\n[[')
        os.kill(server, signal.SIGTERM)
        self.read_until(terminal, b'ended')
        self.assertEqual(os.tcgetpgrp(terminal), shell)

    def read_until(self, fd, text):
        said = b''
        while text not in said:
            ready, _, _ = select.select([fd], [], [], harness.patience(20))
            self.assertTrue(ready, 'it says %r behind %r' % (text, said))
            said += os.read(fd, 4096)
        return said


class TestDeath(Case):
    """SIGKILL of ours at random moments from the start on: the VMM goes on, unseen by it, traced by nobody."""

    def kill_at_random(self, prefix, packets, victim_of, *options):
        rand = random.Random(11)
        for _ in range(KILLS):
            vmm = self.start_testvmm(*options, prefix=prefix)
            if rand.random() < 0.5:
                rsp = self.client(vmm.server)
                rsp.send(rand.choice(packets))
            time.sleep(rand.uniform(0, 0.15))
            victim = victim_of(vmm)
            if victim:
                os.kill(victim, signal.SIGKILL)
            if victim != vmm.server.pid:
                vmm.server.kill()
            vmm.server.wait()
            vmm.read_start()
            vmm.counts_on(seconds=GOES_ON)
            self.untraced(vmm.pid)
            vmm.close()

    def test_front_end(self):
        for name, prefix in USERS:
            with self.subTest(user=name):
                self.kill_at_random(prefix, ['g', 'vCont;s:1', 'vCont;c'], lambda vmm: vmm.server.pid)

    def test_guardian(self):
        """With nothing armed; then the server."""
        def guardian(vmm):
            found = [pid for pid in harness.children(vmm.server.pid) if pid != vmm.pid]
            return found[0] if found else None

        for name, prefix in USERS:
            with self.subTest(user=name):
                self.kill_at_random(prefix, ['g', 'vCont;c'], guardian, '--tolerate-eintr')


class TestWait(Case):
    def wait(self, vmm, prefix=()):
        self.socket = self.path('socket')
        proc = subprocess.Popen([*prefix, harness.SERVER, 'unix:' + self.socket, '--wait', '--attach', str(vmm.pid)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.env())
        self.addCleanup(harness._end, proc)
        return proc

    def test_paused_vmm(self):
        """Held when it is to run for the first time."""
        vmm = self.vmm('--paused')
        server = self.wait(vmm)
        harness.wait_for(lambda: harness.traced(vmm), 10, 'it is watched')
        before = vmm.peek_counters()
        os.kill(vmm.pid, signal.SIGUSR1)
        rsp = self.client(server)
        self.assertRegex(rsp.ask('?'), '^T05')
        self.assertEqual(vmm.peek_counters(), before)
        self.assertEqual(rsp.ask('D'), 'OK')
        vmm.counts_on()
        self.untraced(vmm.pid)

    def test_running_vmm(self):
        """Held at once."""
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        server = self.wait(vmm)
        rsp = self.client(server)
        self.assertRegex(rsp.ask('?'), '^T05')
        before = vmm.peek_counters()
        rsp.ask('qC')
        self.assertEqual(vmm.peek_counters(), before)
        server.kill()
        vmm.counts_on()
        look.check_same(self)

    def test_without_privileges(self):
        """Slots that were set before anybody watched cannot be known."""
        proc = subprocess.Popen([*UNPRIVILEGED, harness.TESTVMM, '--paused'], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        self.addCleanup(harness._end, proc)
        vmm = StartedVmm(proc, proc.pid)
        vmm.read_start()
        server = self.wait(vmm, UNPRIVILEGED)
        harness.wait_for(lambda: harness.traced(vmm), 10, 'it is watched')
        os.kill(vmm.pid, signal.SIGUSR1)
        self.assertEqual(server.wait(harness.patience(20)), 1)
        self.assertRegex(server.stderr.read().decode(), 'CAP_BPF')
        vmm.counts_on()
