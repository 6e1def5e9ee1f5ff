# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Linux guest's own memory tells of it, beside what its user land knows."""

import re
import struct

import elfcore
import guests

SPINNERS = 2
SYMBOLS = 200
PID_AT = 32  # of struct elf_prstatus in all three
UNKNOWN_PID = 0x40000001  # the first of those that stand for none


class FactsTests:
    """Processes keep all vCPUs busy, most of the time in user mode."""

    append = 'spin=%d' % SPINNERS
    symbols_step = None  # so that every so manieth symbol is about SYMBOLS of them

    @classmethod
    def make_guest(cls):
        return guests.Linux(cls.arch, append=cls.append)

    def setUp(self):
        super().setUp()
        self.target = ('--qmp', self.guest.qmp_path)

    def say(self, *commands, target=None):
        return self.check_ok(self.console(target or self.target, *commands)).out.splitlines()

    def facts(self, command):
        return dict(line.split(': ', 1) for line in self.say(command))

    def prstatus_pids(self, path):
        with elfcore.Core(path) as core:
            return [struct.unpack_from(core.order + 'I', desc, PID_AT)[0]
                    for desc in core.notes_of('CORE', elfcore.NT_PRSTATUS)]

    def spinners(self):
        return {pid for pid, name in self.guest.tasks.items() if name == 'init'}

    def pause_spinners(self):
        pids = ' '.join(map(str, self.spinners()))
        self.guest.run('kill -STOP ' + pids)
        self.addCleanup(self.guest.run, 'kill -CONT ' + pids)

    def stop(self):
        self.guest.stop()
        self.addCleanup(self.guest.cont)

    def test_info_linux(self):
        version, = self.guest.run('cat /proc/version')
        build, = self.guest.run('uname -v')
        machine, = self.guest.run('uname -m')
        facts = self.facts('info linux')
        self.assertEqual(facts['Release'], self.guest.release)
        self.assertEqual(facts['Banner'], version)
        self.assertEqual(facts['Version'], build)
        self.assertEqual(facts['Machine'], machine)
        self.assertEqual(int(facts['Slide'], 16), self.slide())
        self.assertEqual(facts['Page size'], self.guest.vmcoreinfo_values()['PAGESIZE'])
        self.assertIn('0x%x,' % self.guest.vmcoreinfo[0], facts['VMCOREINFO'])

    def slide(self):
        return int(self.guest.vmcoreinfo_values().get('KERNELOFFSET', '0'), 16)

    def test_info_kaslr(self):
        facts = self.facts('info kaslr')
        start = self.guest.symbols['_stext']
        self.assertEqual(int(facts['_stext'], 16), start)
        self.assertEqual(int(facts['Linked at'], 16), start - self.slide())
        self.assertEqual(int(facts['Slide'], 16), self.slide())
        self.assertEqual('In gdb' in facts, self.slide() != 0)

    def test_symbols(self):
        """Those of one name only, so that no choice is to be made."""
        self.pause_spinners()
        lines = self.guest.run('f=/proc/kallsyms; awk \'NR == FNR { n[$3]++; next } NF == 3 && n[$3] == 1 && '
                               'FNR %% %d == 7 { print $3, $1 }\' $f $f' % self.symbols_step, seconds=300)
        want = {name: int(address, 16) for name, address in map(str.split, lines)}
        self.assertGreater(len(want), SYMBOLS)
        said = self.say(*['print ' + name for name in want])
        self.assertEqual(dict(zip(want, (int(line, 16) for line in said))), want)

    def test_symbols_by_address(self):
        address, *names = self.say('print schedule', 'info symbol schedule', 'info symbol schedule + 9')
        self.assertEqual(names, ['schedule', 'schedule + 9'])
        self.assertEqual(self.say('info symbol ' + address), ['schedule'])

    def test_no_such_symbol(self):
        self.check_error(self.console(self.target, 'print no_such_symbol'), 1, 'no_such_symbol', 'no symbol')

    def test_pids(self):
        """Of several stops, in which other tasks may run on a vCPU for a moment."""
        seen = set()
        for _ in range(10):
            self.dump(self.target, self.path('core'))
            pids = self.prstatus_pids(self.path('core'))
            self.assertEqual(len(pids), guests.N_CPUS)
            known = {int(p) for p in self.guest.run('ls /proc | grep "^[0-9]"')}
            for pid in pids:
                self.assertIn(pid, known | set(range(UNKNOWN_PID, UNKNOWN_PID + guests.N_CPUS)))
            seen.add(frozenset(pids))
            if frozenset(self.spinners()) in seen:
                return
        self.fail('the spinners %s were never seen on the vCPUs at once: %s' % (self.spinners(), seen))

    def test_dump_of_a_core_is_that_core(self):
        first, second = self.path('first'), self.path('second')
        self.stop()
        self.dump(self.target, first)
        self.dump(first, second)
        with open(first, 'rb') as a, open(second, 'rb') as b:
            piece = True
            while piece:
                piece = a.read(1 << 20)
                self.assertTrue(piece == b.read(1 << 20), 'before %#x' % a.tell())

    def test_facts_of_a_core(self):
        self.stop()
        self.dump(self.target, self.path('core'))
        commands = ('info linux', 'info kaslr', 'print schedule')
        self.assertEqual(self.say(*commands, target=self.path('core')), self.say(*commands))


class IdleTests:
    """Two vCPUs with nothing to do, whose pid is 0 on both."""

    @classmethod
    def make_guest(cls):
        return guests.Linux(cls.arch)

    def test_gdb_lists_both(self):
        core = self.path('core')
        self.dump(('--qmp', self.guest.qmp_path), core)
        said = self.run_gdb('-ex', 'info threads', '-c', core, program='gdb-multiarch')
        self.assertEqual(len(set(re.findall(r'LWP (\d+)', said))), guests.N_CPUS, said)


class TestAmd64(FactsTests, guests.GuestCase):
    arch = 'amd64'
    symbols_step = 350

    def test_is_moved(self):
        self.assertNotEqual(self.slide(), 0)
        self.assertEqual(self.facts('info kaslr')['Linked at'], '0xffffffff81000000')


class TestAmd64Nokaslr(FactsTests, guests.GuestCase):
    """Without a slide, and with the page tables of the user isolated from the kernel's."""

    arch = 'amd64'
    append = FactsTests.append + ' nokaslr pti=on'
    symbols_step = 350

    def test_is_not_moved(self):
        self.assertEqual(self.facts('info kaslr')['Slide'], '0x0')


class TestS390x(FactsTests, guests.GuestCase):
    arch = 's390x'
    symbols_step = 130


class TestPpc64el(FactsTests, guests.GuestCase):
    arch = 'ppc64el'
    symbols_step = 130


class TestIdleAmd64(IdleTests, guests.GuestCase):
    arch = 'amd64'


class TestNoLinux(guests.GuestCase):
    """Firmware."""

    @classmethod
    def make_guest(cls):
        return guests.Slof()

    def test_it_is_said(self):
        for command in 'info linux', 'info kaslr', 'print schedule':
            self.check_error(self.console(('--qmp', self.guest.qmp_path), command), 1, 'Linux')
