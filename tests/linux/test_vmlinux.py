# SPDX-License-Identifier: GPL-3.0-or-later
"""gdb with a kernel's symbols, as users start it: what it knows by name after `target remote`, and no other command."""

import hashlib
import os
import re
import unittest

import guests
import harness
import symfile

TEXT_BYTES = 1 << 20
# Others of a guest's are not in the kernel's image, or not everywhere.
SYMBOLS = '_stext', '_etext', 'linux_banner', 'schedule'
PAGE_BYTES = 4096
LOOKS = 9

# As Linux's own scripts for gdb and those of others do it: whose stub is it, and memory in a loop.
READ_SCRIPT = '''
import hashlib
inferior, digest = gdb.selected_inferior(), hashlib.sha256()
start = int(gdb.parse_and_eval('(unsigned long)&_stext'))
for at in range(start, start + %d, 4096):
    digest.update(inferior.read_memory(at, 4096))
print('VERSION ' + gdb.execute('monitor info version', to_string=True))
print('DIGEST ' + digest.hexdigest())
'''

# Physical memory in between.
PHYSICAL_SCRIPT = '''
inferior = gdb.selected_inferior()
start = int(gdb.parse_and_eval('(unsigned long)&_stext'))
def mode(on):
    print(gdb.execute('maintenance packet Qqemu.PhyMemMode:%%d' %% on, to_string=True))
    print(gdb.execute('maintenance packet qqemu.PhyMemMode', to_string=True))
for on, at in ((1, %d), (0, start), (1, %d), (0, start)):
    mode(on)
    print('READ ' + bytes(inferior.read_memory(at, 64)).hex())
'''

# What lx-ps does.
TASKS_SCRIPT = '''
task = gdb.lookup_type('struct task_struct')
offset = next(f.bitpos // 8 for f in task.fields() if f.name == 'tasks')
first = gdb.parse_and_eval('init_task')['tasks'].address
at = first['next']
while at != first:
    found = (at.cast(gdb.lookup_type('char').pointer()) - offset).cast(task.pointer())
    print('TASK %d %s' % (int(found['pid']), found['comm'].string()))
    at = at['next']
'''


class GdbCase(guests.GuestCase):
    def setUp(self):
        super().setUp()
        self.guest.cont()
        self.target = ('--qmp', self.guest.qmp_path)
        self.server = None

    def serve(self):
        """What `target remote` connects to."""
        self.server, said = self.listen(self.target, 'localhost:0', '--once')
        return re.search(r'localhost:\d+|127\.0\.0\.1:\d+|\[::1\]:\d+', said).group(0)

    def gdb_with(self, symbols, *commands, seconds=120):
        """What gdb prints on `gdb SYMBOLS -ex 'target remote :PORT'` and these commands."""
        words = [w for c in ('target remote ' + self.serve(), *commands) for w in ('-ex', c)]
        said = self.run_gdb('-ex', 'set pagination off', '-ex', 'set width 0',
                            '-ex', 'set remotetimeout %d' % harness.patience(20), symbols, *words, seconds=seconds,
                            program='gdb-multiarch')
        self.server.wait(harness.patience(20))
        return said

    def script(self, text):
        """The command that runs it."""
        path = self.path('script.py')
        with open(path, 'w') as f:
            f.write(text)
        return 'source ' + path

    def value(self, said, pattern):
        match = re.search(pattern, said, re.M)
        self.assertTrue(match, '%r is not in: %s' % (pattern, said))
        return match.group(1)

    def slide(self):
        return int(self.guest.vmcoreinfo_values().get('KERNELOFFSET', '0'), 16)

    def keep_awake(self):
        """From now on tasks come and go in schedule()."""
        pid, = self.guest.run('(while :; do sleep 0.1; done) >/dev/null & echo $!')
        self.addCleanup(self.guest.run, 'kill ' + pid)

    def banner(self):
        version, = self.guest.run('cat /proc/version')
        return version


class SymbolTests:
    """With symbols alone, that were made to be those of the kernel before it was moved."""

    arch = None

    @classmethod
    def make_guest(cls):
        return guests.Linux(cls.arch)

    def symbols(self, *more):
        """The path of such a file."""
        path = self.path('vmlinux')
        at = {name: self.guest.symbol(name) - self.slide() for name in (*SYMBOLS, *more)}
        symfile.write(path, self.arch, at['_stext'], at['_etext'], at['linux_banner'] + PAGE_BYTES, at)
        return path

    def test_addresses(self):
        said = self.gdb_with(self.symbols(), *['info address ' + name for name in SYMBOLS])
        for name in SYMBOLS:
            self.assertEqual(int(self.value(said, r'^Symbol "%s" is at (0x[0-9a-f]+)' % name), 16),
                             self.guest.symbols[name], name)

    def test_data(self):
        said = self.gdb_with(self.symbols(), 'set print elements 0', 'x/s &linux_banner', 'info symbol &linux_banner')
        self.assertIn('%#x:\t"%s\\n"' % (self.guest.symbols['linux_banner'], self.banner()), said)
        self.assertIn('linux_banner in section .data', said)

    def idle_function(self):
        """Where a vCPU is most of the time, as the guest names it."""
        looks = [self.check_ok(self.console(self.target, 'print $pc')).out for _ in range(LOOKS)]
        pc = int(max(looks, key=looks.count), 16)
        name, = self.guest.run('awk \'$2 ~ /[tTwW]/ && $1 <= "%016x" && $1 >= best { best = $1; name = $3 } '
                               'END { print name }\' /proc/kallsyms' % pc)
        return name

    def test_backtrace(self):
        """Of an idle vCPU, which at times is awake."""
        name = self.idle_function()
        symbols, frame = self.symbols(name), re.compile(r'^#0 .*\b%s \(\)' % re.escape(name), re.M)
        harness.wait_for(lambda: frame.search(self.gdb_with(symbols, 'backtrace 1')), 60, 'a vCPU in ' + name)

    def test_breakpoint(self):
        """By name, and hit."""
        self.keep_awake()
        said = self.gdb_with(self.symbols(), 'break schedule', 'continue', 'delete', 'detach')
        self.assertRegex(said, r'Breakpoint 1, 0x\w+ in schedule \(\)')
        at = int(self.value(said, r'^Breakpoint 1 at (0x[0-9a-f]+)'), 16)
        self.assertLess(at - self.guest.symbols['schedule'], 64)
        self.assertGreaterEqual(at, self.guest.symbols['schedule'])
        self.assertEqual(self.guest.run('echo alive'), ['alive'])

    def test_python_reads(self):
        symbols = self.symbols()
        self.guest.stop()
        text = self.guest.image_memory(self.guest.symbols['_stext'], TEXT_BYTES)
        said = self.gdb_with(symbols, self.script(READ_SCRIPT % TEXT_BYTES))
        self.assertIn('DIGEST ' + hashlib.sha256(text).hexdigest(), said)
        self.assertRegex(said, r'VERSION \S')

    def test_python_physical_mode(self):
        symbols, (note, _) = self.symbols(), self.guest.vmcoreinfo
        self.guest.stop()
        virtual = self.guest.image_memory(self.guest.symbols['_stext'], 64).hex()
        physical = [self.guest.pmemsave(at, 64).hex() for at in (note, note + 64)]
        said = self.gdb_with(symbols, self.script(PHYSICAL_SCRIPT % (note, note + 64)))
        self.assertEqual(re.findall('READ (.*)', said), [physical[0], virtual, physical[1], virtual])
        self.assertEqual(re.findall('received: "([01])"', said), ['1', '0', '1', '0'])


class TestAmd64(SymbolTests, GdbCase):
    arch = 'amd64'

    def test_is_moved(self):
        self.assertNotEqual(self.slide(), 0)


class TestS390x(SymbolTests, GdbCase):
    arch = 's390x'


class TestPpc64el(SymbolTests, GdbCase):
    arch = 'ppc64el'


class TestAmd64Debuginfo(GdbCase):
    """With all that vmlinux has; it is large, so each session does much."""

    @classmethod
    def make_guest(cls):
        if not os.path.exists(os.path.join(guests.CACHE, 'amd64-generic', 'vmlinux')):
            raise unittest.SkipTest('no debug information: make check-linux DEBUGINFO=1')
        return guests.Linux('amd64', kernel='amd64-generic')

    def test_idle(self):
        banner = self.banner()
        self.guest.stop_idle()
        said = self.gdb_with(self.guest.vmlinux, 'set print elements 0', 'print linux_banner', 'thread apply 1 backtrace',
                             'thread apply 2 backtrace', self.script(TASKS_SCRIPT))
        self.assertRegex(said, r'(?m)^\$1 = 0x\w+ <linux_banner> "%s\\n"$' % re.escape(banner))
        first, second = re.findall(r'^Thread \d[^\n]*\n((?:#.*\n)+)', said, re.M)
        for stack, start in ((first, 'start_kernel'), (second, 'start_secondary')):
            for function in 'default_idle_call', 'do_idle', 'cpu_startup_entry', start:
                self.assertRegex(stack, r'(?m)^#\d+ .*\b%s \(.* at \S+:\d+$' % function)
        tasks = {int(pid): name for pid, name in re.findall(r'^TASK (\d+) (.*)', said, re.M)}
        self.assertEqual({pid: tasks.get(pid) for pid in self.guest.tasks}, self.guest.tasks)

    def test_breakpoint(self):
        self.keep_awake()
        said = self.gdb_with(self.guest.vmlinux, 'info address schedule', 'break schedule', 'continue', 'backtrace',
                             'delete', 'detach')
        self.assertEqual(int(self.value(said, r'^Symbol "schedule" is a function at address (0x[0-9a-f]+)'), 16),
                         self.guest.symbol('schedule'))
        self.assertRegex(said, r'Breakpoint 1 at 0x\w+: file \S+core\.c, line \d+')
        self.assertRegex(said, r'(?m)hit Breakpoint 1, schedule \(\) at ')
        self.assertRegex(said, r'(?m)^#1 +0x\w+ in \w+ \(.* at \S+:\d+$')
