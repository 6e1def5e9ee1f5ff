# SPDX-License-Identifier: GPL-3.0-or-later
"""What the system tests share: the two VMMs, our program, gdb, and how a process looks from outside."""

import ctypes
import errno
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import uuid

import pattern

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('BUILD', os.path.join(TOP, 'build'))
SERVER = os.path.abspath(os.environ.get('VMGDBSERVER', os.path.join(BUILD, 'vmgdbserver')))
TESTVMM = os.path.join(BUILD, 'tests', 'testvmm')
QEMU = 'qemu-system-x86_64'

# Everything of ours that a test starts carries this, so that what outlives a test is found.
TAG = 'VMGDBSERVER_TEST_TAG'

STATUS_UNSUPPORTED = 6  # of the test VMM: this machine's KVM lacks the mode

SLOWNESS = int(os.environ.get('SLOWNESS', '1'))


def patience(seconds):
    """How long to wait here for what takes no longer than this on a machine that is not slow."""
    return seconds * SLOWNESS


def some(things):
    """Those to try here, of the list of all."""
    return things[::SLOWNESS]


def times(n, least=1):
    """How many of n repetitions to do here."""
    return max(len(some(range(n))), least)


# ---- what this machine can do ----

def missing_requirement():
    """Why attaching cannot be tested here; None when it can."""
    if not os.path.exists('/dev/kvm'):
        return 'no /dev/kvm'
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return 'no permission for /dev/kvm'
    if os.geteuid() != 0:
        return 'needs root: ptrace and BPF'
    return None


def require_kvm():
    reason = missing_requirement()
    if reason is None:
        return
    if os.environ.get('REQUIRE_KVM') == '1':
        raise AssertionError('REQUIRE_KVM=1, but ' + reason)
    raise unittest.SkipTest(reason)


def require_program(name):
    if not shutil.which(name):
        raise unittest.SkipTest(name + ' is not installed')


def wait_for(condition, seconds=10, what='condition'):
    """Polls until condition() is true and returns what it gave; ever less often, as most come true at once."""
    end, pause = time.monotonic() + patience(seconds), 0.001
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError('%s: not within %g seconds' % (what, patience(seconds)))
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


# ---- the VMMs ----

class TestVmm:
    """tests/vmm, whose guests hold the values of pattern.py."""

    def __init__(self, *options, through=()):
        """through: the words of a program that executes it."""
        self.options = options
        self.proc = subprocess.Popen([*through, TESTVMM, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.proc.pid
        self._rest = b''
        line = self._line(60)
        if not line.startswith('{'):
            self.proc.wait(patience(10))
            self.close()
            if self.proc.returncode == STATUS_UNSUPPORTED:
                raise unittest.SkipTest("this machine's KVM: " + line)
            raise AssertionError('test VMM: ' + line)
        self.info = json.loads(line)
        self.vms = self.info['vms']
        self.mode, self.work = self.info['mode'], self.info['work']

    def _line(self, seconds):
        end = time.monotonic() + patience(seconds)
        while b'\n' not in self._rest:
            ready, _, _ = select.select([self.proc.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.proc.stdout.fileno(), 65536) if ready else b''
            if not piece:
                raise AssertionError('test VMM says nothing (status %r)' % self.proc.poll())
            self._rest += piece
        line, self._rest = self._rest.split(b'\n', 1)
        return line.decode()

    def command(self, line, seconds=20):
        self.tell(line)
        return self.answer(seconds)

    def tell(self, line):
        """A command whose answer may have to wait until the VMM is let go."""
        self.proc.stdin.write(line.encode() + b'\n')
        self.proc.stdin.flush()

    def answer(self, seconds=20):
        answer = self._line(seconds)
        if answer[:1] not in '{[':
            raise AssertionError('test VMM: ' + answer)
        return json.loads(answer)

    def line_after_signal(self, sig, seconds=20):
        os.kill(self.pid, sig)
        return json.loads(self._line(seconds))

    def counters(self, vm=0):
        return self.command('counters')[vm]

    def peek(self, hva, size):
        """The VMM's own memory, however stopped it is."""
        with open('/proc/%d/mem' % self.pid, 'rb') as mem:
            mem.seek(hva)
            return mem.read(size)

    def peek_counters(self, vm=0):
        return [int.from_bytes(self.peek(v['counter_hva'], 8), 'little') for v in self.vms[vm]['vcpus']]

    def slots(self, vm=0):
        return self.vms[vm]['slots']

    def missing(self, cpu, vm=0):
        return self.vms[vm]['vcpus'][cpu]['missing']

    def counts_on(self, vm=0, seconds=10):
        """Every vCPU counts; as seen from outside, so that a VMM that hangs fails with a reason."""
        before = self.peek_counters(vm)
        wait_for(lambda: all(b > a for a, b in zip(before, self.peek_counters(vm))), seconds,
                 'counters of pid %d go on from %s' % (self.pid, before))
        self.check_alive()

    def check_alive(self):
        """It still answers, and has said nothing in between (RESTART-FAIL, KVM_RUN EINTR)."""
        if self.proc.poll() is not None:
            raise AssertionError('test VMM ended with status %d: %s' % (
                self.proc.returncode, self._rest.decode() or self.proc.stdout.read().decode()))
        self.command('counters')

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()


class Untouched:
    """All memory of a test VMM's guest but the words that the guest itself writes, to be compared with what it is."""

    WRITTEN_BYTES = 16  # a counter, and the last input behind it

    def __init__(self, vmm, vm=0):
        self.vmm, self.vm = vmm, vm
        # From then on the page tables say accessed and dirty of all that they ever will.
        wait_for(lambda: all(vmm.peek_counters(vm)), 10, 'every vCPU counts')
        self.code = self._code()
        self.was = self._now()

    def _code(self):
        at = [vcpu['counter_hva'] - pattern.COUNTER_OFFSET for vcpu in self.vmm.vms[self.vm]['vcpus']]
        return [self.vmm.peek(hva, pattern.COUNTER_OFFSET) for hva in at]

    def _now(self):
        """hva of each slot that stays to its bytes."""
        return {slot['hva']: self._bytes(slot) for slot in self.vmm.slots(self.vm) if slot['gpa'] != pattern.GPA_EXTRA}

    def _bytes(self, slot):
        data = bytearray(self.vmm.peek(slot['hva'], slot['bytes']))
        for vcpu in self.vmm.vms[self.vm]['vcpus']:
            at = vcpu['counter_hva'] - slot['hva']
            if 0 <= at < len(data):
                data[at:at + self.WRITTEN_BYTES] = bytes(self.WRITTEN_BYTES)
        return data

    def check_code(self):
        """The pages that are run, which is soon done."""
        if self._code() != self.code:
            raise AssertionError("the guest's code was changed")

    def check(self):
        for hva, now in self._now().items():
            was = self.was[hva]
            if now != was:
                at = next(n for n, (a, b) in enumerate(zip(was, now)) if a != b)
                raise AssertionError('guest memory at hva %#x: %s, was %s' % (
                    hva + at, now[at:at + 16].hex(), was[at:at + 16].hex()))


# QEMU's registers in real mode, where interrupts find what they need, and wake it.
IDLE_FIRMWARE = re.compile(r'(?s)EFL=\w{5}2\w\w .*HLT=1.*CR0=00000010 ')


class QemuProcess:
    """A QEMU with a monitor of the tests' own; arguments() says which machine it is."""

    program = QEMU

    def __init__(self):
        require_program(self.program)
        self.dir = tempfile.mkdtemp(prefix='vmgdb-qemu-')
        path = self.path('monitor')
        self.log = open(self.path('log'), 'w+b')
        self.proc = subprocess.Popen(
            [self.program, '-display', 'none', '-nodefaults', '-qmp', 'unix:%s,server=on,wait=off' % path,
             *self.arguments()],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = self.proc.pid
        self.events = []  # the names of those that came with answers
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience(60))
        try:
            wait_for(lambda: self._connects(path), 20, 'QMP socket')
            self.lines = self.socket.makefile('rb')
            self.lines.readline()
            self.qmp('qmp_capabilities')
        except BaseException:
            self.close()
            raise

    def _connects(self, path):
        """The socket has its name before it listens."""
        if self.proc.poll() is not None:
            raise AssertionError('%s ended at once: %s' % (self.program, self.said()))
        try:
            self.socket.connect(path)
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def path(self, name):
        return os.path.join(self.dir, name)

    def said(self):
        """What QEMU itself wrote on its standard outputs."""
        return os.pread(self.log.fileno(), 65536, 0).decode(errors='replace')

    def qmp(self, command, **arguments):
        self.socket.sendall(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\n')
        return self.answer(command)

    def answer(self, command):
        """To a command that was sent."""
        while True:
            line = self.lines.readline()
            if not line:
                raise AssertionError('QEMU closed its monitor')
            answer = json.loads(line)
            if 'return' in answer:
                return answer['return']
            if 'error' in answer:
                raise AssertionError('QMP %s: %s' % (command, answer['error']['desc']))
            self.events.append(answer['event'])

    def wait_for_nothing_to_do(self):
        """Until its firmware has nothing to boot from and waits."""
        wait_for(self.has_nothing_to_do, 60, 'firmware that has nothing to do')

    def has_nothing_to_do(self):
        return IDLE_FIRMWARE.search(self.hmp('info registers'))

    def hmp(self, line):
        return self.qmp('human-monitor-command', **{'command-line': line})

    def stop(self):
        self.qmp('stop')

    def cont(self):
        self.qmp('cont')

    def running(self):
        return self.qmp('query-status')['running']

    def dump(self, path):
        self.qmp('dump-guest-memory', paging=False, protocol='file:' + path)

    def pmemsave(self, gpa, size):
        return self._saved('pmemsave', val=gpa, size=size)

    def memsave(self, gva, size, cpu=0):
        """What this vCPU sees at a virtual address. QMP's numbers are signed."""
        return self._saved('memsave', val=gva - (gva >> 63 << 64), size=size, **{'cpu-index': cpu})

    def _saved(self, command, **arguments):
        path = self.path('saved')
        self.qmp(command, filename=path, **arguments)
        with open(path, 'rb') as f:
            data = f.read()
        os.unlink(path)
        return data

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.log.close()
        self.socket.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Qemu(QemuProcess):
    """QEMU with -enable-kvm, which was told nothing about us. Its firmware finds nothing to boot."""

    def __init__(self, *options, megabytes=256):
        self.options, self.megabytes = options, megabytes
        super().__init__()

    def arguments(self):
        return ['-enable-kvm', '-M', 'pc', '-m', str(self.megabytes), *self.options]

    def ticks(self):
        """The BIOS's timer interrupt counts them, 18 a second."""
        return int(self.hmp('xp /1wx 0x46c').split(':')[1], 16)

    def wait_for_firmware(self):
        """Until its own code runs from RAM and counts."""
        wait_for(lambda: self.ticks() > 0, 60, "QEMU's firmware")

    def counts_on(self, seconds=60):
        """Its firmware moves itself about first, which takes seconds where KVM emulates each instruction."""
        before = self.ticks()
        wait_for(lambda: self.ticks() != before, seconds, "QEMU's timer ticks go on from %d" % before)


# ---- how a process looks from outside ----

def _status(path):
    with open(path) as f:
        return dict(line.rstrip('\n').split(':', 1) for line in f if ':' in line)


def task_status(pid):
    """tid -> the lines of its status as a dict."""
    found = {}
    for tid in os.listdir('/proc/%d/task' % pid):
        try:
            found[int(tid)] = {k: v.strip() for k, v in _status('/proc/%d/task/%s/status' % (pid, tid)).items()}
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def stopped(vmm):
    """By a signal, and by nobody else."""
    return all(s['State'][0] == 'T' and s['TracerPid'] == '0' for s in task_status(vmm.pid).values())


def traced(vmm):
    return any(s['TracerPid'] != '0' for s in task_status(vmm.pid).values())


def children(pid):
    """None of a process that has ended."""
    found = []
    try:
        for tid in os.listdir('/proc/%d/task' % pid):
            with open('/proc/%d/task/%s/children' % (pid, tid)) as f:
                found += [int(child) for child in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return sorted(found)


def fds(pid):
    found = {}
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found[int(fd)] = os.readlink('/proc/%d/fd/%s' % (pid, fd))
        except FileNotFoundError:
            pass
    return found


def maps(pid):
    """Address ranges, protections and names, without a heap or stack that grows by itself."""
    with open('/proc/%d/maps' % pid) as f:
        lines = [line.split(maxsplit=5) for line in f]
    return [(l[0], l[1], l[5].strip() if len(l) > 5 else '') for l in lines
            if len(l) < 6 or l[5].strip() not in ('[heap]', '[stack]')]


class Look:
    """A VMM as it was, to be compared with how it is."""

    SIGNALS = ('SigBlk', 'SigPnd', 'ShdPnd', 'SigIgn', 'SigCgt')

    def __init__(self, pid):
        self.pid = pid
        self.tasks = task_status(pid)
        self.fds = fds(pid)
        self.maps = maps(pid)
        self.children = children(pid)

    def check_same(self, test, steady=True):
        """
        steady: a VMM whose threads, descriptors and mappings never change by
        themselves. QEMU's worker threads come and go, and its heap grows.
        """
        wait_for(lambda: not self._held(), 5, 'pid %d is let go' % self.pid)
        now = Look(self.pid)
        test.assertEqual(now.children, self.children, 'children')
        self._check_threads(test, now, steady)
        if steady:
            test.assertEqual(now.fds, self.fds, 'descriptors')
            test.assertEqual(now.maps, self.maps, 'mappings')
        else:
            test.assertEqual(_kvm_fds(now.fds), _kvm_fds(self.fds), 'descriptors of KVM')
            test.assertLessEqual(len(now.fds), len(self.fds) + 2, 'descriptors')
            test.assertEqual(_named(now.maps), _named(self.maps), 'named mappings')
            test.assertLessEqual(len(now.maps), len(self.maps) + 8, 'mappings')

    def _held(self):
        return [t for t, s in task_status(self.pid).items() if s['TracerPid'] != '0' or s['State'][0] == 't']

    def _check_threads(self, test, now, steady):
        if steady:
            test.assertEqual(sorted(now.tasks), sorted(self.tasks), 'threads')
        for tid in set(now.tasks) & set(self.tasks):
            for field in self.SIGNALS:
                test.assertEqual(now.tasks[tid][field], self.tasks[tid][field], '%s of %d' % (field, tid))
            was_stopped = self.tasks[tid]['State'][0] == 'T'
            test.assertEqual(now.tasks[tid]['State'][0] == 'T', was_stopped, 'state of %d' % tid)


def _kvm_fds(links):
    return sorted(link for link in links.values() if 'kvm' in link)


def _named(mappings):
    return sorted(m for m in mappings if m[2])


# ---- our program ----

def tagged(tag):
    """Pids of all processes that carry this tag in their environment."""
    found = []
    want = ('%s=%s' % (TAG, tag)).encode()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/environ' % pid, 'rb') as f:
                if want in f.read().split(b'\0'):
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return found


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __repr__(self):
        return 'status %d, out %r, err %r' % (self.status, self.out[:2000], self.err[:2000])


class Case(unittest.TestCase):
    """A test with a temporary directory, whose processes are all gone when it ends."""

    @classmethod
    def setUpClass(cls):
        if not os.access(SERVER, os.X_OK):
            raise AssertionError('%s is not built' % SERVER)

    def setUp(self):
        self.tag = uuid.uuid4().hex
        self.dir = tempfile.mkdtemp(prefix='vmgdb-test-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.addCleanup(self._check_left_processes)

    def _check_left_processes(self):
        try:
            wait_for(lambda: not tagged(self.tag), 5, 'our processes end')
        except AssertionError:
            left = tagged(self.tag)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            self.fail('processes were left: %s' % left)

    def path(self, name):
        return os.path.join(self.dir, name)

    def env(self):
        return dict(os.environ, **{TAG: self.tag, 'HOME': self.dir, 'XDG_STATE_HOME': self.dir, 'LC_ALL': 'C'})

    def vmm(self, *options, **kw):
        require_kvm()
        vmm = TestVmm(*options, **kw)
        self.addCleanup(vmm.close)
        return vmm

    def qemu(self, *options, **kw):
        require_kvm()
        qemu = Qemu(*options, **kw)
        self.addCleanup(qemu.close)
        qemu.wait_for_firmware()
        return qemu

    def popen(self, *args, **kw):
        kw.setdefault('env', self.env())
        proc = subprocess.Popen([SERVER, *map(str, args)], **kw)
        self.addCleanup(_end, proc)
        return proc

    def run_server(self, *args, seconds=60, text=True, **kw):
        """Runs our program to its end."""
        kw.setdefault('stdin', subprocess.DEVNULL)
        kw.setdefault('stdout', subprocess.PIPE)
        proc = self.popen(*args, stderr=subprocess.PIPE, **kw)
        try:
            out, err = proc.communicate(timeout=patience(seconds))
        except subprocess.TimeoutExpired:
            proc.kill()
            out, err = proc.communicate()
            self.fail('%s: no end within %g seconds; err %r' % (' '.join(map(str, args)), patience(seconds), err))
        out = out or b''
        return Result(proc.returncode, out.decode(errors='replace') if text else out,
                      err.decode(errors='replace'))

    def check_ok(self, result):
        self.assertEqual(result.status, 0, result)
        return result

    def check_error(self, result, status, *patterns):
        """One line on standard error that says all of this."""
        self.assertEqual(result.status, status, result)
        self.assertEqual(result.err.count('\n'), 1, 'one line of error: %r' % result)
        self.assertTrue(result.err.startswith('vmgdbserver: '), result)
        for pattern in patterns:
            self.assertRegex(result.err, pattern)

    def dump(self, target, out, *options):
        """A whole dump of --attach PID (an int) or --core FILE."""
        return self.check_ok(self.run_server('dump', '-q', *target_of(target), *options, out, seconds=120))

    def console(self, target, *commands, **kw):
        words = [w for c in commands for w in ('-c', c)]
        return self.run_server('console', *target_of(target), *words, **kw)

    def rsp(self, target, *options):
        """A session over standard input and output; already connected."""
        client = Rsp(self.popen('-', *target_of(target), *options, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        self.addCleanup(client.close)
        return client

    def listen(self, target, comm, *options):
        """A server that has said where it listens; and what it said."""
        proc = self.popen(comm, *target_of(target), *options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
        ready, _, _ = select.select([proc.stderr], [], [], patience(20))
        line = proc.stderr.readline().decode() if ready else ''
        self.assertIn('Listening on ', line)
        return proc, line.strip()

    def listen_unix(self, target, *options):
        path = self.path('socket')
        proc, _ = self.listen(target, 'unix:' + path, *options)
        return proc, path

    def connect_unix(self, path):
        return self._connected(socket.socket(socket.AF_UNIX), path)

    def connect_tcp(self, host, port):
        return self._connected(socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET), (host, port))

    def _connected(self, sock, address):
        sock.settimeout(patience(20))
        sock.connect(address)
        client = Rsp(sock=sock)
        self.addCleanup(client.close)
        return client

    def gdb(self, target, *commands, seconds=120, options=()):
        """Real gdb through `target remote |`; what it prints on both outputs, and its status."""
        require_program('gdb')
        script = self.path('script.gdb')
        words = ' '.join(map(str, (SERVER, '-', *target_of(target), *options)))
        with open(script, 'w') as f:
            f.write('set confirm off\nset pagination off\nset width 0\nset height 0\n'
                    'set remotetimeout %d\ntarget remote | %s\n' % (patience(20), words))
            f.write('\n'.join(commands) + '\n')
        return self.run_gdb('-x', script, seconds=seconds)

    def run_gdb(self, *args, seconds=120, program='gdb'):
        require_program(program)
        proc = subprocess.Popen([program, '--batch', '-nx', '-iex', 'set debuginfod enabled off', *args],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=self.env())
        self.addCleanup(_end, proc)
        try:
            out, _ = proc.communicate(timeout=patience(seconds))
        except subprocess.TimeoutExpired:
            proc.kill()
            self.fail('gdb: no end within %g seconds: %r' % (patience(seconds), proc.communicate()[0]))
        return out.decode(errors='replace')


def target_of(target):
    """--attach for a VMM or a pid, --core for a path; a tuple stands for itself."""
    if isinstance(target, (TestVmm, Qemu)):
        return '--attach', str(target.pid)
    if isinstance(target, int):
        return '--attach', str(target)
    return target if isinstance(target, tuple) else ('--core', target)


def _end(proc):
    if proc.poll() is None:
        proc.kill()
        proc.wait()
    for f in (proc.stdin, proc.stdout, proc.stderr):
        if f:
            try:
                f.close()
            except BrokenPipeError:
                pass


# ---- a small RSP client ----

class Closed(Exception):
    """The server has ended the connection."""


class Rsp:
    """Packets over a child's standard input and output, or over a socket."""

    def __init__(self, proc=None, sock=None):
        self.proc, self.sock = proc, sock
        self.rest = b''
        self.console = b''

    def _send(self, data):
        try:
            if self.sock:
                self.sock.sendall(data)
            else:
                self.proc.stdin.write(data)
                self.proc.stdin.flush()
        except (BrokenPipeError, ConnectionResetError):
            raise Closed()

    def _fill(self, seconds):
        source = self.sock or self.proc.stdout
        ready, _, _ = select.select([source], [], [], seconds)
        if not ready:
            raise AssertionError('no answer within %g seconds' % seconds)
        try:
            piece = os.read(source.fileno(), 1 << 20)
        except ConnectionResetError:
            piece = b''
        if not piece:
            raise Closed()
        self.rest += piece

    def send(self, payload):
        if isinstance(payload, str):
            payload = payload.encode('latin-1')
        self._send(b'$' + payload + b'#%02x' % (sum(payload) & 0xff))

    def interrupt(self):
        self._send(b'\x03')

    def receive(self, seconds=20):
        """One packet: escapes and runs are undone, and it is acknowledged."""
        end = time.monotonic() + patience(seconds)
        while True:
            match = re.search(rb'\$([^#]*)#(..)', self.rest, re.S)
            if match:
                self.rest = self.rest[match.end():]
                if int(match.group(2), 16) != sum(match.group(1)) & 0xff:
                    raise AssertionError('wrong checksum of %r' % match.group(0))
                self._acknowledge()
                return _unpack(match.group(1))
            self._fill(max(0, end - time.monotonic()))

    def _acknowledge(self):
        """Behind its last reply the server is gone already."""
        try:
            self._send(b'+')
        except Closed:
            pass

    def ask(self, payload, seconds=20):
        self.send(payload)
        return self.receive(seconds).decode('latin-1')

    def monitor(self, command, seconds=60):
        """What a monitor command prints, and its last answer (OK or E...)."""
        text = b''
        self.send('qRcmd,' + command.encode().hex())
        while True:
            reply = self.receive(seconds)
            if reply[:1] == b'O' and reply != b'OK':
                text += bytes.fromhex(reply[1:].decode())
            else:
                return text.decode(errors='replace'), reply.decode('latin-1')

    def read(self, address, size):
        """Bytes, fewer than asked for where memory ends, or None for an error."""
        reply = self.ask('m%x,%x' % (address, size))
        return None if reply.startswith('E') else bytes.fromhex(reply)

    def write(self, address, data):
        return self.ask('M%x,%x:%s' % (address, len(data), data.hex()))

    def physical(self, on=True):
        return self.ask('Qqemu.PhyMemMode:%d' % on)

    def thread(self, n):
        return self.ask('Hg%x' % n)

    def detach(self):
        reply = self.ask('D')
        if self.proc:
            self.proc.wait(patience(10))
        return reply

    def hang_up(self):
        """Cuts the connection and waits for the server's end."""
        try:
            self.proc.stdin.close()
        except BrokenPipeError:
            pass
        self.proc.wait(patience(10))

    def close(self):
        if self.sock:
            self.sock.close()
        if self.proc:
            _end(self.proc)


def _unpack(data):
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == 0x7d:
            at += 1
            out.append(data[at] ^ 0x20)
        elif data[at] == 0x2a:
            at += 1
            out += bytes([out[-1]]) * (data[at] - 29)
        else:
            out.append(data[at])
        at += 1
    return bytes(out)


# ---- being a tracer, for tests of what happens when there is another one ----

PTRACE_SEIZE = 0x4206


class Tracer:
    """A process of its own that traces a thread until it is closed."""

    def __init__(self, tid):
        ready, tell = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
            failed = libc.ptrace(PTRACE_SEIZE, tid, None, None) < 0
            os.write(tell, b'f' if failed else b'k')
            signal.pause()
            os._exit(0)
        os.close(tell)
        answer = os.read(ready, 1)
        os.close(ready)
        if answer != b'k':
            self.close()
            raise AssertionError('cannot trace %d' % tid)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        try:
            os.waitpid(self.pid, 0)
        except OSError as e:
            if e.errno != errno.ECHILD:
                raise


class SmallDisk:
    """A tmpfs of a few bytes, mounted on a directory."""

    def __init__(self, path, size, options=''):
        os.mkdir(path)
        self.path = path
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%d%s' % (size, options), 'none', path], check=True)

    def read_only(self):
        subprocess.run(['mount', '-o', 'remount,ro', self.path], check=True)

    def resize(self, size):
        subprocess.run(['mount', '-o', 'remount,size=%d' % size, self.path], check=True)

    def close(self):
        subprocess.run(['umount', '-l', self.path], check=True)
