# SPDX-License-Identifier: GPL-3.0-or-later
"""
Emulated machines of other architectures that run the program under test themselves,
built for them. Tests drive them from here: by commands on the console, by RSP over
the network, and by files that both see. The environment: BUILD, the build directory
of that architecture; SYSROOT, its libraries; LINUX_GUESTS.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile

import harness

sys.path.insert(0, os.path.join(harness.TOP, 'tests', 'linux'))
import guests
import initramfs

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(harness.BUILD)
SYSROOT = os.path.abspath(os.environ.get('SYSROOT', ''))
BOOT_SECONDS = 300
COMMAND_SECONDS = 300
UNIT_SECONDS = 800
PORT = 1234


class Kind:
    """
    host: what was fetched for it. suffix: of its devices' names. buses: where they go,
    in the order of Machine.arguments(). own: QEMU was fetched with the kernel. kvm: it has KVM.
    """

    def __init__(self, host, words, console, suffix, buses=None, own=False, kvm=True):
        self.host, self.words, self.console, self.suffix = host, words.split(), console, suffix
        self.buses, self.own, self.kvm = buses, own, kvm


# What runs KVM's guests on the bare machine, and what does in a guest of a hypervisor that lets it.
POWERNV = '-M powernv9 -cpu POWER9 -smp 1 -m 2048 -vga none -net none'
PSERIES = ('-M pseries,cap-nested-hv=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off -cpu POWER9 '
           '-smp 1 -m 1536 -nodefaults')
# A processor with no scv, so that all system calls are made by sc.
POWER8 = '-M pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken -cpu POWER8 -smp 1 -m 1536 -nodefaults'

KINDS = {
    'powernv': Kind('host-ppc64el-new', 'qemu-system-ppc64 ' + POWERNV, 'hvc0', 'pci', ['pcie.0', 'pcie.1', 'pcie.2'],
                    own=True),
    'pseries': Kind('host-ppc64el-new', 'qemu-system-ppc64 ' + PSERIES, 'hvc0', 'pci'),
    'pseries-without-btf': Kind('host-ppc64el', 'qemu-system-ppc64 ' + PSERIES, 'hvc0', 'pci'),
    'power8': Kind('host-ppc64el', 'qemu-system-ppc64 ' + POWER8, 'hvc0', 'pci', kvm=False),
    's390x': Kind('host-s390x', 'qemu-system-s390x -M s390-ccw-virtio -cpu max -smp 2 -m 1024 -nodefaults', 'ttyS1',
                  'ccw', kvm=False),
}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Machine:
    def __init__(self, name):
        self.kind = KINDS[name]
        harness.require_program(self.kind.words[0])
        self.directory = os.path.join(guests.CACHE, self.kind.host)
        self.dir = tempfile.mkdtemp(prefix='vmgdb-machine-')
        self.out = os.path.join(self.dir, 'out')
        os.mkdir(self.out)
        self.port = free_port()
        self.log = open(os.path.join(self.dir, 'log'), 'w+b')
        self.proc = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.console = None
        try:
            harness.wait_for(lambda: self.proc.poll() is not None or os.path.exists(self.path('console')), 20, 'QEMU')
            self.console = guests.Console(self.path('console'))
            self.console.wait_for(r'^@@ ready\n', BOOT_SECONDS)
        except BaseException:
            said = os.pread(self.log.fileno(), 4096, 0).decode(errors='replace')
            self.close()
            print(said)
            raise

    def path(self, name):
        return os.path.join(self.dir, name)

    def _device(self, n, words):
        device = words.replace('@', self.kind.suffix)
        return ['-device', device + (',bus=' + self.kind.buses[n] if self.kind.buses else '')]

    def _program(self):
        if not self.kind.own:
            return [self.kind.words[0]]
        own = os.path.join(self.directory, 'qemu', 'usr')
        return [os.path.join(own, 'bin', self.kind.words[0]), '-L', os.path.join(own, 'share', 'qemu')]

    def arguments(self):
        order = initramfs.read(os.path.join(self.directory, 'order')).decode().split()
        order = [name for name in order if self.kind.kvm or not name.startswith('kvm')]
        modules = {'modules/' + name: initramfs.read(os.path.join(self.directory, 'modules', name)) for name in order}
        initramfs.write(self.path('initramfs'), os.path.join(self.directory, 'busybox'), os.path.join(HERE, 'init'),
                        {**modules, 'order': ''.join(name + '\n' for name in order).encode(),
                         'places': SYSROOT.encode() + b'\n'})
        words = [*self._program(), *self.kind.words[1:], '-accel', 'tcg', '-display', 'none', '-no-reboot',
                 '-chardev', 'socket,id=console,path=%s,server=on,wait=off' % self.path('console'),
                 '-serial', 'chardev:console',
                 '-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap',
                 '-fsdev', 'local,id=out,path=%s,security_model=none' % self.out,
                 *self._device(0, 'virtio-9p-@,fsdev=host,mount_tag=host'),
                 *self._device(1, 'virtio-9p-@,fsdev=out,mount_tag=out'),
                 '-kernel', os.path.join(self.directory, 'kernel'), '-initrd', self.path('initramfs'),
                 '-append', 'console=%s quiet panic=-1' % self.kind.console]
        if self.kind.suffix == 'pci':
            words += ['-netdev', 'user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:%d-:%d' % (self.port, PORT),
                      *self._device(2, 'virtio-net-@,netdev=net')]
        return words

    def shell(self, command, seconds=COMMAND_SECONDS):
        """Status and lines of a shell command."""
        start = len(self.console.text)
        self.console.type(command + '\n')
        match = self.console.wait_for(r'^@@ done (\d+)\n', seconds, start)
        return int(match.group(1)), self.console.text[start:match.start()].splitlines()

    def run(self, command, seconds=COMMAND_SECONDS):
        """Its lines; it must succeed."""
        status, said = self.shell(command, seconds)
        if status:
            raise AssertionError('%s: status %d, %s' % (command, status, '\n'.join(said)))
        return said

    def program(self, name):
        """How a program of the build directory is called there."""
        return shlex.quote('/host' + os.path.join(BUILD, name))

    def check_unit(self, case, name):
        """Runs a program of unit tests, each test of which must pass."""
        status, said = self.shell('CK_TIMEOUT_MULTIPLIER=10 %s 2>&1' % self.program('tests/' + name), UNIT_SECONDS)
        text = '\n'.join(said)
        case.assertEqual(status, 0, text)
        case.assertNotIn('SKIP', text)
        case.assertRegex(text, r'(?m)^100%: Checks: [1-9]\d*, Failures: 0, Errors: 0$')

    def close(self):
        self.proc.kill()
        self.proc.wait()
        if self.console:
            self.console.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Vmm:
    """
    tests/vmm in a machine. words: in front of its path, of a server that starts it: held
    when its vCPU is about to run, it may not have said yet what it is. See read_start().
    """

    def __init__(self, machine, *options, words=''):
        self.machine = machine
        machine.run('rm -f /tmp/in /out/vmm && mkfifo /tmp/in')
        machine.run('%s %s %s <>/tmp/in >/out/vmm 2>/tmp/err &' % (words, machine.program('tests/testvmm'),
                                                                shlex.join(options)))
        self.pid = None
        if words:
            machine.run('until grep -q Listening /tmp/err; do usleep 100000; done')
        else:
            self.read_start()

    def read_start(self):
        harness.wait_for(self.lines, 120, 'the test VMM')
        self.info = json.loads(self.lines()[0])
        self.pid = self.info['pid']

    def lines(self):
        """Whole ones, of its standard output."""
        path = os.path.join(self.machine.out, 'vmm')
        if not os.path.exists(path):
            return []
        with open(path) as f:
            return f.read().split('\n')[:-1]

    def command(self, line):
        n = len(self.lines())
        self.machine.run('echo %s >/tmp/in' % line)
        harness.wait_for(lambda: len(self.lines()) > n, 60, 'an answer to %s' % line)
        return json.loads(self.lines()[n])

    def counters(self):
        return self.command('counters')[0]

    def check_counts(self):
        before = self.counters()
        harness.wait_for(lambda: all(b > a for a, b in zip(before, self.counters())), 60, 'counters go on')

    def close(self):
        self.machine.shell('kill -9 %s' % (self.pid or '$(pidof testvmm)'))
