# SPDX-License-Identifier: GPL-3.0-or-later
"""
Machines that tests look at: Debian's Linux on each architecture, and firmware
alone. Guest is a machine with a console; Linux is one whose first
process (tests/linux/init) told about its kernel and takes commands.
"""

import functools
import os
import re
import shutil
import socket
import struct
import tempfile
import threading

import harness
import initramfs

CACHE = os.path.abspath(os.environ.get('LINUX_GUESTS', os.path.join(harness.TOP, 'build', 'linux')))
BOOT_SECONDS = 120
N_CPUS = 2
MEGABYTES = 512
SHT_SYMTAB = 2
# Where these kernels' own memory starts: the image on amd64, all RAM on ppc64.
KERNEL_MAP_AMD64 = 0xffffffff80000000
LINEAR_MAP_PPC64 = 0xc << 60
# What the monitor says of a vCPU that waits for an interrupt: s390x has a bit of the PSW for it.
WAITS = {'amd64': 'HLT=1', 's390x': r'PSW=mask \w{3}[2367abef]'}


# Of our target.xml, the numbers of the program counter and of the stack pointer; and s390x's PSW mask.
PC = {'amd64': 16, 's390x': 1, 'ppc64el': 32}
SP = {'amd64': 7, 's390x': 17, 'ppc64el': 1}
PSW_MASK, PSW_PROBLEM_STATE = 0, 1 << 48
BYTE_ORDER = {'amd64': 'little', 's390x': 'big', 'ppc64el': 'little'}


def register(rsp, arch, number):
    """Of the thread that the session has chosen."""
    return int.from_bytes(bytes.fromhex(rsp.ask('p%x' % number)), BYTE_ORDER[arch])


def in_user_space(rsp, arch):
    if arch == 's390x':
        return bool(register(rsp, arch, PSW_MASK) & PSW_PROBLEM_STATE)
    return register(rsp, arch, PC[arch]) < 1 << 63


class Machine:
    """What QEMU needs to be one; cpu is the model when a test asks for none."""

    def __init__(self, program, machine, console, cpu):
        self.program, self.machine, self.console, self.cpu = program, machine, console, cpu


# A pseries has mitigations by default that TCG has not.
PSERIES = 'pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off'

MACHINES = {
    # On a busy machine its timer may be late for the kernel's check of it.
    'amd64': Machine('qemu-system-x86_64', 'pc', 'ttyS0 no_timer_check', 'max'),
    'ppc64el': Machine('qemu-system-ppc64', PSERIES, 'hvc0', 'POWER9'),
    's390x': Machine('qemu-system-s390x', 's390-ccw-virtio', 'ttyS1', 'max'),
}


class Console:
    """A guest's console; a thread of its own reads, as a guest waits where nobody does."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.text = ''
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                piece = self.socket.recv(65536)
            except OSError:
                piece = b''
            with self.changed:
                self.text += piece.decode(errors='replace').replace('\r', '')
                self.ended = not piece
                self.changed.notify_all()
            if not piece:
                return

    def lines(self):
        return self.text.splitlines()

    def wait_for(self, pattern, seconds, start=0):
        """The match of a pattern in what came at or after this offset."""
        seconds = harness.patience(seconds)
        regex = re.compile(pattern, re.M)
        with self.changed:
            self.changed.wait_for(lambda: regex.search(self.text, start) or self.ended, seconds)
            match = regex.search(self.text, start)
        if not match:
            raise AssertionError('the console %s without %r; its end: %s' % (
                'was closed' if self.ended else 'was silent for %g seconds' % seconds, pattern, self.text[-1000:]))
        return match

    def type(self, text):
        self.socket.sendall(text.encode())

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # QEMU has closed its end
        self.thread.join()
        self.socket.close()


class Guest(harness.QemuProcess):
    """
    accel: tcg, or kvm for what this machine can run itself. cpu: QEMU's model; with
    tcg on amd64 max has five levels of page tables and qemu64 four, on ppc64el
    POWER9 a radix and POWER8 a hashed one.
    memory: 'memfd', 'file' (both shared, to be mapped by ram_path) or
    'private'. stub: a gdbstub listens on gdb_path from the start. qmp_path is
    a second monitor, for the program under test.
    """

    console_ready = None  # the pattern that says that it has booted

    def __init__(self, arch, accel='tcg', cpu=None, memory='memfd', megabytes=MEGABYTES, stub=False, options=()):
        machine = MACHINES[arch]
        self.arch, self.accel, self.machine, self.program = arch, accel, machine, machine.program
        self.cpu = cpu or machine.cpu
        self.memory, self.megabytes, self.stub, self.options = memory, megabytes, stub, options
        self.console = None
        super().__init__()
        try:
            self.console = Console(self.path('console'))
            self.cont()
            self.booted = self._wait_for_boot()
        except BaseException:
            self.close()
            raise

    @property
    def qmp_path(self):
        return self.path('qmp')

    @property
    def gdb_path(self):
        return self.path('gdb')

    @property
    def ram_path(self):
        """What a shared RAM can be opened by."""
        if self.memory == 'file':
            return os.path.join(self.ram_dir, 'ram')
        fd = next(fd for fd, link in harness.fds(self.pid).items() if link.startswith('/memfd:'))
        return '/proc/%d/fd/%d' % (self.pid, fd)

    def arguments(self):
        words = ['-accel', self.accel, '-cpu', self.cpu, '-smp', str(N_CPUS), '-m', str(self.megabytes), '-S',
                 '-no-reboot', '-action', 'panic=pause',
                 '-qmp', 'unix:%s,server=on,wait=off' % self.qmp_path,
                 '-chardev', 'socket,id=console,path=%s,server=on,wait=off' % self.path('console'),
                 '-serial', 'chardev:console', *self._memory()]
        if self.stub:
            words += ['-gdb', 'unix:%s,server=on,wait=off' % self.gdb_path]
        return [*words, *self.options]

    def _memory(self):
        if self.memory == 'private':
            return ['-M', self.machine.machine]
        kind = 'memory-backend-memfd'
        if self.memory == 'file':
            self.ram_dir = tempfile.mkdtemp(prefix='vmgdb-ram-', dir='/dev/shm')
            kind = 'memory-backend-file,mem-path=' + self.ram_path
        return ['-M', self.machine.machine + ',memory-backend=ram',
                '-object', '%s,id=ram,size=%dM,share=on' % (kind, self.megabytes)]

    def _wait_for_boot(self):
        try:
            return self.console.wait_for(self.console_ready, BOOT_SECONDS)
        except AssertionError as e:
            raise AssertionError('%s did not boot: %s\n%s' % (self.program, e, self.said()))

    # ---- QEMU's own gdbstub, in the test's hands ----

    def start_stub(self, device=None):
        """On gdb_path, or on another device of the monitor's command."""
        said = self.hmp('gdbserver ' + (device or 'unix:%s,server=on,wait=off' % self.gdb_path))
        if 'Waiting for gdb connection' not in said:
            raise AssertionError('gdbserver: ' + said)

    def stop_stub(self):
        said = self.hmp('gdbserver none')
        if 'Disabled gdbserver' not in said:
            raise AssertionError('gdbserver none: ' + said)

    def stub_filename(self):
        """How query-chardev shows the stub, None for no stub: with "disconnected:" in front, it has no client."""
        return next((c['filename'] for c in self.qmp('query-chardev') if c['label'] == 'gdb'), None)

    def close(self):
        super().close()
        if self.console:
            self.console.close()
        if self.memory == 'file':
            shutil.rmtree(self.ram_dir, ignore_errors=True)


class Linux(Guest):
    """
    append: words for the kernel's command line, such as nokaslr, or spin=2 for
    processes that keep both vCPUs busy in user space (see count). kernel: another
    one than the architecture's, by its name in the cache.

    release; n_cpus; vmcoreinfo, the (address, size) of the note in physical
    memory; tasks, pid to name of processes that stay; symbols, name to address:
    those of initramfs.SYMBOLS, where the kernel's kallsyms has data, and all of a
    kernel that is an ELF file and stays where it was linked.
    """

    console_ready = r'^@@ ready\n'

    def __init__(self, arch, append='', options=(), kernel=None, **kw):
        self.directory = os.path.join(CACHE, kernel or arch)
        if not os.path.exists(self.directory):
            raise AssertionError('%s is missing: run make linux-guests' % self.directory)
        self.append = append
        super().__init__(arch, options=options, **kw)
        facts = [line.split()[1:] for line in self.console.lines() if line.startswith('@@ ')]
        self.release = _only(facts, 'release')[0]
        self.n_cpus = int(_only(facts, 'cpus')[0])
        self.vmcoreinfo = tuple(int(n, 16) for n in _only(facts, 'vmcoreinfo'))
        self.tasks = {int(f[1]): f[2] for f in facts if f[0] == 'task'}
        self.symbols = {**elf_symbols(self.kernel), **_symbols(facts)}
        if 'linux_banner' not in self.symbols:
            self.symbols['linux_banner'] = self._find_banner()

    def arguments(self):
        initrd = self.path('initramfs')
        initramfs.write_guest(initrd, os.path.join(self.directory, 'busybox'))
        return [*super().arguments(), '-kernel', self.kernel, '-initrd', initrd,
                '-append', 'console=%s %s' % (self.machine.console, self.append)]

    def _find_banner(self):
        """The first whole one behind the text: others lack the build's number. s390x maps the kernel one to one."""
        start = self.symbols['_etext']
        banner, = self.run('cat /proc/version')
        return start + self.pmemsave(start, 8 << 20).index(banner.encode() + b'\n\0')

    @property
    def kernel(self):
        return os.path.join(self.directory, 'kernel')

    @property
    def vmlinux(self):
        """The kernel's debug information, None when it was not fetched."""
        path = os.path.join(self.directory, 'vmlinux')
        return path if os.path.exists(path) else None

    def run(self, command, seconds=120):
        """The lines that a shell command in the guest prints; it must succeed."""
        start = len(self.console.text)
        self.console.type(command + '\n')
        match = self.console.wait_for(r'^@@ done (\d+)\n', seconds, start)
        said = self.console.text[start:match.start()].splitlines()
        if match.group(1) != '0':
            raise AssertionError('%s: status %s, %s' % (command, match.group(1), said))
        return said

    def symbol(self, name):
        """The address of any symbol, asked of the guest when it is a new one."""
        if name not in self.symbols:
            self.symbols.update(_symbols([line.split()[1:] for line in self.run('kallsyms ' + name)]))
        return self.symbols[name]

    def vmcoreinfo_values(self):
        """What the note says, by name; it starts with a header of 12 bytes and a name of 12."""
        text = self.pmemsave(*self.vmcoreinfo)[24:].split(b'\0')[0].decode()
        return dict(line.split('=', 1) for line in text.splitlines())

    def image_memory(self, gva, size):
        """What is there of the kernel's image, whatever its vCPUs do: one in user space may not see it."""
        if self.arch == 'amd64':
            gva += int(self.vmcoreinfo_values()['NUMBER(phys_base)']) - KERNEL_MAP_AMD64
        return self.pmemsave(gva & ~LINEAR_MAP_PPC64 if self.arch == 'ppc64el' else gva, size)

    def count(self):
        """How far each process that spin=N asked for is."""
        return [int(line.split()[3]) for line in self.run('count')]

    def stop_idle(self):
        """Stops it while no vCPU runs a task."""
        def stops():
            self.stop()
            idle = len(re.findall(WAITS[self.arch], self.hmp('info registers -a'))) == self.n_cpus
            if not idle:
                self.cont()
            return idle
        harness.wait_for(stops, 60, 'vCPUs that wait')

    def panic(self):
        """Makes its kernel panic, of which QEMU hears on all but amd64: guest-panicked."""
        self.console.type('panic\n')
        self.console.wait_for('Kernel panic - not syncing', 60)

    def power_off(self):
        """Its QEMU ends with it."""
        self.console.type('poweroff -f\n')
        self.proc.wait(60)


class Slof(Guest):
    """A pseries machine with no kernel: its firmware waits at a prompt, big-endian, on one vCPU."""

    console_ready = r'^0 > '

    def __init__(self, **kw):
        super().__init__('ppc64el', **kw)


def _only(facts, name):
    found = [fact[1:] for fact in facts if fact[0] == name]
    if len(found) != 1:
        raise AssertionError('the guest said %s of its %s' % (found or 'nothing', name))
    return found[0]


def _symbols(facts):
    """Of static symbols with one name, the first."""
    found = {}
    for fact in facts:
        if fact[0] == 'symbol':
            found.setdefault(fact[1], int(fact[2], 16))
    return found


@functools.lru_cache(maxsize=None)
def elf_symbols(path):
    """Name to address; of symbols with one name the first. Nothing of a file that is no ELF64."""
    with open(path, 'rb') as f:
        data = f.read()
    if data[:5] != b'\x7fELF\2':
        return {}
    order = '<' if data[5] == 1 else '>'
    (shoff,), (shnum,) = struct.unpack_from(order + 'Q', data, 40), struct.unpack_from(order + 'H', data, 60)
    sections = list(struct.iter_unpack(order + 'IIQQQQIIQQ', data[shoff:shoff + 64 * shnum]))
    found = {}
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind == SHT_SYMTAB:
            strings = sections[link][4]
            for name, _, _, _, value, _ in struct.iter_unpack(order + 'IBBHQQ', data[offset:offset + size]):
                end = data.index(b'\0', strings + name)
                found.setdefault(data[strings + name:end].decode(), value)
    return found


class GuestCase(harness.Case):
    """Tests that share one guest, made by make_guest() before the first of them."""

    guest = None

    @classmethod
    def make_guest(cls):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest = cls.make_guest()
        cls.addClassCleanup(cls.guest.close)
