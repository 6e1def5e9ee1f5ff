# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU, KVM and TCG, by its QMP socket. Expected values come from QEMU's own monitor and dump."""

import os
import random
import re
import signal
import socket
import struct
import subprocess
import time

import elfcore
import harness

PC_DEBUG_PORT = 'o /b 0x505 1'       # of the pvpanic device
PC_POWER_OFF = 'o /w 0x604 0x2000'   # ACPI's PM1a control: sleep type 0, enable
PC_SLEEP = 'o /w 0x604 0x2400'


def stub_directories():
    """Where listeners of ours are; each is there for a moment."""
    return {name for name in os.listdir('/tmp') if name.startswith('vmgdbserver-')}


class Machine(harness.QemuProcess):
    """A QEMU with two QMP sockets: the tests' own, and the one that our program is given."""

    def __init__(self, program, *options):
        self.program, self.options = program, options
        super().__init__()

    def arguments(self):
        return [*self.options, '-qmp', 'unix:%s,server=on,wait=off' % self.path('ours')]

    def target(self):
        return '--qmp', self.path('ours')

    def status(self):
        return self.qmp('query-status')['status']

    def stub(self):
        """What query-chardev says of the gdbstub; None: none runs."""
        found = [c['filename'] for c in self.qmp('query-chardev') if c['label'] == 'gdb']
        return found[0] if found else None

    def registers(self, cpu=0):
        return self.qmp('human-monitor-command', **{'command-line': 'info registers', 'cpu-index': cpu})


class QmpCase(harness.Case):
    def check_no_directory_left(self, before):
        """Those of others that are there now will go."""
        found = stub_directories() - before
        harness.wait_for(lambda: not found & stub_directories(), 20, 'no directory is left')

    def machine(self, program, *options):
        machine = Machine(program, *options)
        self.addCleanup(machine.close)
        return machine

    def kvm(self, *options):
        """Its firmware runs, and has nothing to boot."""
        harness.require_kvm()
        return self.firmware('-enable-kvm', '-M', 'pc', *options)

    def firmware(self, *options):
        machine = self.machine('qemu-system-x86_64', '-m', '128', *options)
        if '-S' not in options and '-incoming' not in options:
            harness.wait_for(lambda: int(machine.hmp('xp /1wx 0x46c').split(':')[1], 16), 60, 'firmware')
        return machine

    def tcg(self, *options):
        return self.firmware('-M', 'pc', '-accel', 'tcg', *options)

    def tcp(self, *options, host='127.0.0.1'):
        """Its QMP is reached by a port."""
        with socket.create_server((host, 0)) as free:
            address = '%s:%d' % free.getsockname()
        machine = self.tcg('-qmp', 'tcp:%s,server=on,wait=off' % address, *options)
        machine.target = lambda: ('--qmp', address)
        return machine

    def s390x(self, *options):
        return self.machine('qemu-system-s390x', '-M', 's390-ccw-virtio', '-S', *options)

    def pseries(self, *options):
        """SLOF, which runs big-endian, at its prompt."""
        machine = self.machine('qemu-system-ppc64', '-M', 'pseries', '-m', '256', *options)
        harness.wait_for(lambda: int(re.search(r'NIP (\w+)', machine.registers()).group(1), 16) > 0x1000, 60, 'SLOF')
        return machine

    def say(self, machine, *commands):
        """What the console prints."""
        result = self.check_ok(self.console(machine.target(), *commands))
        self.assertEqual(result.err, '')
        return result.out

    def value(self, text, name):
        return int(re.search(r'(?:^|\s)%s=([0-9a-f]+)(?:\s|$)' % name, text).group(1), 16)


def hmp_value(text, pattern, group=1):
    return int(re.search(pattern, text, re.M).group(group), 16)


class TestRegisters(QmpCase):
    """All but those that count time."""

    def check(self, machine, cpu, pairs):
        ours = self.say(machine, 'cpu %d' % cpu, 'info registers')
        theirs = machine.registers(cpu)
        for name, pattern in pairs:
            mask = 0xf0ff00 if name.endswith('_attr') else ~0  # QEMU leaves bits of the limit in the attributes
            with self.subTest(cpu=cpu, name=name):
                self.assertEqual(self.value(ours, name), hmp_value(theirs, pattern) & mask)

    def check_x86(self, machine, cpus):
        machine.stop()
        pairs = [('r' + n, r'E%s=(\w+)' % n.upper()) for n in ('ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp', 'sp', 'ip')]
        pairs += [('cr%d' % n, r'CR%d=(\w+)' % n) for n in (0, 2, 3, 4)]
        pairs += [('eflags', r'EFL=(\w+)'), ('efer', r'EFER=(\w+)'), ('dr7', r'DR7=(\w+)')]
        for seg in ('cs', 'ss', 'ds', 'es', 'fs', 'gs'):
            line = r'^%s =(\w+) (\w+) (\w+) (\w+)' % seg.upper()
            pairs += [(seg, line), (seg + '_base', line.replace(r'(\w+)', r'\w+', 1)),
                      (seg + '_limit', line.replace(r'(\w+)', r'\w+', 2)),
                      (seg + '_attr', line.replace(r'(\w+)', r'\w+', 3))]
        for table in ('gdt', 'idt'):
            pairs += [(table + 'r_base', r'^%s= +(\w+) \w+' % table.upper()),
                      (table + 'r_limit', r'^%s= +\w+ (\w+)' % table.upper())]
        for cpu in range(cpus):
            self.check(machine, cpu, pairs)

    def test_kvm(self):
        self.check_x86(self.kvm('-smp', '2'), 2)

    def test_tcg(self):
        self.check_x86(self.tcg('-smp', '2'), 2)

    def test_s390x(self):
        machine = self.s390x('-smp', '2')
        pairs = [('pswm', r'mask (\w+)'), ('pswa', r'addr (\w+)')]
        pairs += [('r%d' % n, r'R%02d=(\w+)' % n) for n in range(16)]
        pairs += [('cr%d' % n, r'C%02d=(\w+)' % n) for n in range(16)]
        for cpu in (0, 1):
            self.check(machine, cpu, pairs)

    def test_ppc64(self):
        machine = self.pseries()
        machine.stop()
        pairs = [('pc', r'NIP (\w+)'), ('lr', r'LR (\w+)'), ('ctr', r'CTR (\w+)'), ('msr', r'MSR (\w+)')]
        pairs += [('r%d' % n, r'GPR%02d(?: \w+){%d} (\w+)' % (n & ~3, n & 3)) for n in range(32)]
        self.check(machine, 0, pairs)

    def test_32_bit_code_of_long_mode(self):
        """QEMU's stub tells the low halves of what such code can see; QEMU's own dump has all of it."""
        machine = self.tcg_prelaunch_in_long_mode()
        self.set(machine, RBX=0x1122334455667788, R8=0x99aabbccddeeff00, CS=0x18)
        self.assertIn('EBX=55667788', machine.registers())
        out = self.say(machine, 'info registers')
        self.assertEqual(self.value(out, 'rbx'), 0x1122334455667788)
        self.assertEqual(self.value(out, 'r8'), 0x99aabbccddeeff00)

    def test_32_bit_code_of_long_mode_over_tcp(self):
        """No dump of QEMU's can be had there: what is not known is not zero."""
        with socket.create_server(('127.0.0.1', 0)) as free:
            address = '127.0.0.1:%d' % free.getsockname()[1]
        machine = self.tcg_prelaunch_in_long_mode('-qmp', 'tcp:%s,server=on,wait=off' % address)
        self.set(machine, RBX=0x1122334455667788, CS=0x18)
        machine.target = lambda: ('--qmp', address)
        out = self.say(machine, 'info registers')
        self.assertEqual(self.value(out, 'rbx'), 0x55667788)
        self.assertRegex(out, r' r8=-')

    NUMBERS = {'RBX': 1, 'R8': 8, 'CS': 18, 'CR0': 76, 'CR3': 78, 'CR4': 79, 'EFER': 81}  # of our target.xml

    def set(self, machine, **registers):
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        for name, value in registers.items():
            size = 4 if name == 'CS' else 8
            self.assertEqual(rsp.ask('P%x=%s' % (self.NUMBERS[name], value.to_bytes(size, 'little').hex())), 'OK')
        rsp.detach()

    def tcg_prelaunch_in_long_mode(self, *options):
        """Selector 8 is 64-bit code, 0x18 is 32-bit code."""
        machine = self.tcg('-S', *options)
        rsp = self.rsp(machine.target())
        rsp.physical()
        gdt = struct.pack('<4Q', 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff)
        for gpa, data in ((0, gdt), (0x1000, struct.pack('<Q', 0x2003)), (0x2000, struct.pack('<Q', 0x3003)),
                          (0x3000, struct.pack('<Q', 0x83))):
            self.assertEqual(rsp.write(gpa, data), 'OK')
        rsp.detach()
        self.set(machine, CR4=0x20, CR3=0x1000, EFER=0x100, CR0=0x80000011, CS=8)
        self.assertRegex(machine.registers(), r'(?s)RAX=.*EFER=0000000000000500')
        return machine

    def test_both_cpus_are_threads_of_gdb(self):
        machine = self.tcg('-smp', '2')
        out = self.gdb(machine.target(), 'info threads')
        self.assertRegex(out, r'(?m)^\* 1 .*thread \d+')
        self.assertRegex(out, r'(?m)^  2 ')
        self.assertTrue(machine.running())

    def test_written(self):
        machine = self.tcg()
        machine.stop()
        out = self.gdb(machine.target(), 'set var $rbx = 0x12345678', 'p/x $rbx')
        self.assertIn('0x12345678', out)
        self.assertEqual(hmp_value(machine.registers(), r'EBX=(\w+)'), 0x12345678)

    def test_written_big_endian(self):
        machine = self.s390x()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        self.assertEqual(rsp.ask('P9=1122334455667788'), 'OK')  # pswm, pswa, r0
        rsp.detach()
        self.assertEqual(hmp_value(machine.registers(), r'R07=(\w+)'), 0x1122334455667788)

    def test_only_in_its_own_dump(self):
        """QEMU 7.2 tells s390x's prefix and timers nowhere else."""
        machine = self.s390x('-smp', '2')
        rsp = self.rsp(machine.target())
        rsp.physical()
        # spx 8(%r1); j .; the new prefix
        self.assertEqual(rsp.write(0x10000, bytes.fromhex('b2101008 a7f40000 00020000')), 'OK')
        for number, value in ((0, 0x180000000), (1, 0x10000), (3, 0x10000)):  # pswm, pswa, r1
            self.assertEqual(rsp.ask('P%x=%016x' % (number, value)), 'OK')
        rsp.detach()
        machine.cont()
        harness.wait_for(lambda: 'addr 0000000000010004' in machine.registers(), 10, 'the loop')
        machine.stop()
        self.assertEqual(self.value(self.say(machine, 'info registers'), 'prefix'), 0x20000)
        self.dump(machine.target(), self.path('ours'))
        machine.dump(self.path('theirs'))
        with elfcore.Core(self.path('ours')) as a, elfcore.Core(self.path('theirs')) as b:
            self.assertEqual(a.notes_of('LINUX', 0x305), [b'\0\2\0\0', b'\0\0\0\0'])
            for kind in (0x301, 0x302, 0x303, 0x304, 0x305, 0x309, 0x30a):
                self.assertEqual(a.notes_of('LINUX', kind), b.notes_of('LINUX', kind), hex(kind))


class TestMemory(QmpCase):
    def check(self, machine, top, seed=1):
        """Random reads, and those that cross pages, equal pmemsave's."""
        choose = random.Random(seed)
        rsp = self.rsp(machine.target())
        rsp.physical()
        for _ in range(40):
            gpa, size = choose.randrange(top - 9000), choose.randrange(1, 9000)
            self.assertEqual(rsp.read(gpa, size), machine.pmemsave(gpa, size), hex(gpa))
        rsp.detach()

    def test_kvm(self):
        machine = self.kvm()
        machine.stop()
        self.check(machine, 1 << 20)

    def test_tcg(self):
        machine = self.tcg()
        machine.stop()
        self.check(machine, 1 << 20)

    def test_s390x(self):
        self.check(self.s390x(), 128 << 20)

    def test_ppc64(self):
        machine = self.pseries()
        machine.stop()
        self.check(machine, 256 << 20)

    def test_written(self):
        """QEMU emulates what is there now, not what was there when it translated it."""
        for machine in (self.tcg(), self.kvm()):
            rsp = self.rsp(machine.target())
            rsp.physical()
            self.assertEqual(rsp.write(0x90000, b'vmgdbserver'), 'OK')
            self.assertEqual(machine.pmemsave(0x90000, 11), b'vmgdbserver')
            rsp.detach()

    def test_rom_is_not_written_behind_an_emulator(self):
        machine = self.tcg()
        before = machine.pmemsave(0xfffff000, 4096)
        rsp = self.rsp(machine.target())
        rsp.physical()
        self.assertTrue(rsp.write(0xfffff000, b'x').startswith('E'))
        self.assertEqual(machine.pmemsave(0xfffff000, 4096), before)
        rsp.detach()

    def test_over_tcp_by_the_shared_file(self):
        machine = self.tcp('-object', 'memory-backend-file,id=ram0,size=128M,share=on,mem-path=' + self.path('ram'),
                           '-machine', 'memory-backend=ram0')
        out = self.say(machine, 'info mtree')
        self.assertRegex(out, r'(?m) ram ram0 at hva \w+, by the file behind it$')
        self.assertRegex(out, r"(?m)^0xfffc0000-0xffffffff rom pc.bios at hva \w+, by QEMU's gdbstub$")
        machine.stop()
        self.check(machine, 1 << 20)
        rsp = self.rsp(machine.target())
        rsp.physical()
        self.assertEqual(rsp.read(0xfffffff0, 16), machine.pmemsave(0xfffffff0, 16))
        rsp.detach()
        self.assertIsNone(machine.stub())

    def test_no_file_of_what_may_be_another_machine(self):
        """A file of that name may be another guest's there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(('192.0.2.1', 9))  # sends nothing; TEST-NET-1 of RFC 5737
                host = probe.getsockname()[0]
            except OSError:
                self.skipTest('this machine has no address but loopback')
        machine = self.tcp('-object', 'memory-backend-file,id=ram0,size=128M,share=on,mem-path=' + self.path('ram'),
                           '-machine', 'memory-backend=ram0', host=host)
        out = self.say(machine, 'info mtree', 'info status')
        self.assertRegex(out, r"(?m) ram ram0 at hva \w+, by QEMU's monitor, which is slow$")
        self.assertIn('none is started that other machines could reach', out)
        self.assertIsNone(machine.stub())

    def test_another_file_of_that_name(self):
        machine = self.tcp('-object', 'memory-backend-file,id=ram0,size=128M,share=on,mem-path=' + self.path('ram'),
                           '-machine', 'memory-backend=ram0')
        machine.stop()
        os.rename(self.path('ram'), self.path('moved'))
        harness.shutil.copyfile(self.path('moved'), self.path('ram'))
        self.assertIn(', by the file behind it', self.say(machine, 'info mtree'))
        # Samples are compared, some MiB from each other; where depends on how far the firmware is.
        with open(self.path('ram'), 'r+b') as other:
            other.seek(64 << 20)
            other.write(b'other' * (2 << 20))
        self.assertNotIn(', by the file behind it', self.say(machine, 'info mtree'))

    def test_by_the_monitor_where_there_is_no_other_way(self):
        machine = self.tcp('-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'))
        machine.stop()
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self.path('gdb'))
            harness.wait_for(lambda: not machine.stub().startswith('disconnected:'), 10, 'the other client')
            self.assertIn("by QEMU's monitor, which is slow", self.say(machine, 'info mtree'))
            rsp = self.rsp(machine.target())
            rsp.physical()
            self.assertEqual(rsp.read(0xf0000, 3000), machine.pmemsave(0xf0000, 3000))
            self.assertTrue(rsp.write(0x1000, b'x').startswith('E'))
            rsp.detach()


class TestDump(QmpCase):
    def check(self, machine):
        """The same bytes at the same places as in QEMU's own."""
        ours, theirs = self.path('ours'), self.path('theirs')
        self.dump(machine.target(), ours)
        machine.stop()
        self.dump(machine.target(), ours)
        machine.dump(theirs)
        with elfcore.Core(ours) as a, elfcore.Core(theirs) as b:
            self.assertEqual(a.ranges(), b.ranges())
            self.assertIsNone(elfcore.first_difference(a, b))
            self.assertEqual(a.order, b.order)
            self.assertEqual(len(a.notes_of('CORE', 1)), len(b.notes_of('CORE', 1)))
            return a.order

    def test_kvm(self):
        self.check(self.kvm('-smp', '2', '-vga', 'std'))

    def test_tcg_with_a_dimm(self):
        self.check(self.firmware('-M', 'q35', '-accel', 'tcg', '-m', '128,slots=2,maxmem=1G', '-object',
                                 'memory-backend-memfd,id=hot,size=64M', '-device', 'pc-dimm,memdev=hot'))

    def test_s390x(self):
        self.assertEqual(self.check(self.s390x('-smp', '2')), '>')

    def test_ppc64(self):
        self.assertEqual(self.check(self.pseries()), '>')

    def test_pages_that_are_new(self):
        """Those of one region that were touched since the dump before."""
        machine = self.pseries()
        rsp = self.rsp(machine.target())
        rsp.physical()
        for n in range(3):
            text = b'written before dump %d' % n
            self.assertEqual(rsp.write(0x9000000 + 0x100000 * n, text), 'OK')
            rsp.send('c')
            harness.wait_for(machine.running, 10, 'continue')
            rsp.interrupt()
            self.assertRegex(rsp.receive().decode(), '^T02')
            self.assertEqual(rsp.monitor('dump-guest-memory ' + self.path('core'))[1], 'OK')
            with open(self.path('core'), 'rb') as f:
                self.assertTrue(text in f.read(), text)

    def test_running_goes_on(self):
        machine = self.kvm()
        self.dump(machine.target(), self.path('core'))
        self.assertEqual(machine.status(), 'running')


class TestHotPlug(QmpCase):
    GPA = 0x100000000

    def plug(self, machine, text):
        """A DIMM that begins so, always of the same name and at the same place."""
        with open(machine.path('dimm'), 'wb') as f:
            f.write(text)
            f.truncate(64 << 20)
        machine.qmp('object-add', **{'qom-type': 'memory-backend-file', 'id': 'hot', 'share': True,
                                     'mem-path': machine.path('dimm'), 'size': 64 << 20})
        os.unlink(machine.path('dimm'))
        machine.qmp('device_add', driver='pc-dimm', id='dimm', memdev='hot')

    def unplug(self, machine):
        """As the guest ejects it: ACPI memory hotplug in QEMU's docs/specs."""
        for line in 'o /4 0xa00 0', 'o /1 0xa14 8':
            machine.hmp(line)
        harness.wait_for(lambda: machine.status() and 'DEVICE_DELETED' in machine.events, 10, 'its end')
        machine.events.clear()
        machine.qmp('object-del', id='hot')

    def look(self, machine, rsp, want):
        """At a stop of its own; None: there is no memory."""
        rsp.interrupt()
        self.assertRegex(rsp.receive().decode(), '^T02')
        self.assertEqual(rsp.read(self.GPA, 8), want)
        rsp.send('c')
        harness.wait_for(machine.running, 10, 'continue')

    def test_between_stops(self):
        """A DIMM that comes, is replaced by others that look the same, and goes."""
        machine = self.tcg('-m', '128,slots=2,maxmem=1G')
        rsp = self.rsp(machine.target())
        rsp.physical()
        rsp.send('c')
        harness.wait_for(machine.running, 10, 'continue')
        self.look(machine, rsp, None)
        for n in range(16):
            text = b'DIMM %3d' % n
            self.plug(machine, text)
            self.look(machine, rsp, text)
            self.unplug(machine)
            # Where QEMU would have the next one, too.
            machine.qmp('object-add', **{'qom-type': 'memory-backend-ram', 'id': 'other%d' % n, 'size': 64 << 20})
        self.look(machine, rsp, None)


class TestRunState(QmpCase):
    def check_left(self, machine, status, running=False):
        self.assertEqual(machine.status(), status)
        out = self.say(machine, 'info status', 'info registers', 'xp /1xb 0')
        self.assertIn('its status was: %s\n' % status, out)
        self.assertEqual('stays so' in out, not running)
        self.assertEqual(machine.status(), status)
        self.assertIsNone(machine.stub())

    def test_running(self):
        machine = self.kvm()
        self.check_left(machine, 'running', running=True)
        before = machine.hmp('xp /1wx 0x46c')
        harness.wait_for(lambda: machine.hmp('xp /1wx 0x46c') != before, 60, 'it counts on')

    def test_paused(self):
        machine = self.kvm()
        machine.stop()
        self.check_left(machine, 'paused')

    def test_not_started(self):
        self.check_left(self.kvm('-S'), 'prelaunch')
        self.check_left(self.tcg('-S'), 'prelaunch')
        self.check_left(self.s390x(), 'prelaunch')

    def test_waiting_for_a_migration(self):
        self.check_left(self.kvm('-incoming', 'defer'), 'inmigrate')
        self.check_left(self.tcg('-incoming', 'defer'), 'inmigrate')

    def test_shut_down(self):
        machine = self.tcg('-no-shutdown')
        machine.hmp(PC_POWER_OFF)
        harness.wait_for(lambda: machine.status() == 'shutdown', 10, 'shutdown')
        self.check_left(machine, 'shutdown')

    def test_panicked(self):
        machine = self.tcg('-device', 'pvpanic', '-action', 'panic=pause')
        machine.hmp(PC_DEBUG_PORT)
        harness.wait_for(lambda: machine.status() == 'guest-panicked', 10, 'panic')
        self.check_left(machine, 'guest-panicked')

    def test_asleep(self):
        machine = self.tcg()
        machine.hmp(PC_SLEEP)
        harness.wait_for(lambda: machine.status() == 'suspended', 10, 'sleep')
        self.check_left(machine, 'suspended', running=True)

    def test_many_cycles(self):
        machine = self.kvm()
        self.say(machine, 'info status')
        before, directories = len(harness.fds(machine.pid)), stub_directories()
        for _ in range(20):
            self.say(machine, 'stop', 'cont', 'stop', 'info registers')
        self.assertEqual(machine.status(), 'running')
        self.assertIsNone(machine.stub())
        harness.wait_for(lambda: len(harness.fds(machine.pid)) <= before, 10, 'no descriptor is left in QEMU')
        self.check_no_directory_left(directories)

    def test_somebody_lets_it_run(self):
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.physical()
        self.assertIsNotNone(rsp.read(0, 1))
        machine.cont()
        harness.wait_for(lambda: machine.stub() is None, 10, 'the gdbstub is let go of')
        self.assertIsNone(rsp.read(0, 1))
        rsp.send('c')
        rsp.interrupt()
        self.assertRegex(rsp.receive().decode(), '^T')
        self.assertIsNotNone(rsp.read(0, 1))
        rsp.detach()
        self.assertIn('another client of QEMU has let the guest run\n', rsp.proc.stderr.read().decode())
        self.assertEqual(machine.status(), 'running')

    def test_somebody_lets_it_run_and_stops_it_again(self):
        """What was read before is stale, and it stays stopped as that somebody wanted it."""
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.physical()
        self.assertIsNotNone(rsp.read(0, 1))
        machine.cont()
        machine.stop()
        harness.wait_for(lambda: machine.stub() is None, 10, 'the gdbstub is let go of')
        rsp.hang_up()
        self.assertIn('another client of QEMU has let the guest run\n', rsp.proc.stderr.read().decode())
        self.assertEqual(machine.status(), 'paused')

    def test_somebody_resets_it(self):
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        machine.qmp('system_reset')
        reset_vector = 'f0ff000000000000'
        harness.wait_for(lambda: reset_vector in rsp.ask('g'), 10, 'the registers after a reset')
        rsp.detach()
        self.assertEqual(machine.status(), 'running')

    def test_somebody_stops_it(self):
        """gdb's continue ends, and the guest stays as that somebody wanted it."""
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        rsp.send('c')
        harness.wait_for(machine.running, 10, 'continue')
        machine.stop()
        self.assertRegex(rsp.receive().decode(), '^T02')
        rsp.detach()
        self.assertEqual(machine.status(), 'paused')

    def test_it_shuts_down_while_it_runs(self):
        machine = self.tcg('-no-shutdown')
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        rsp.send('c')
        harness.wait_for(machine.running, 10, 'continue')
        machine.hmp(PC_POWER_OFF)
        self.assertRegex(rsp.receive().decode(), '^T03')
        rsp.detach()
        self.assertEqual(machine.status(), 'shutdown')


class TestStub(QmpCase):
    """QEMU's own gdbstub."""

    def test_none_runs(self):
        machine = self.kvm()
        out = self.say(machine, 'info status')
        self.assertIn(', started for this', out)
        self.assertIn('reached by QMP, because --qmp was given', out)
        self.assertIn('--attach %d\n' % machine.pid, out)
        self.assertIsNone(machine.stub())

    def check_free(self, option, place):
        machine = self.kvm('-gdb', option)
        out = self.say(machine, 'info status', 'info registers')
        self.assertRegex(out, "(?m)^registers: by QEMU's gdbstub at %s, and by" % place)
        harness.wait_for(lambda: machine.stub().startswith('disconnected:'), 10, 'it listens again')
        self.assertEqual(machine.status(), 'running')
        machine.stop()
        self.say(machine, 'info registers', 'cont', 'stop', 'info registers')
        self.assertEqual(machine.status(), 'paused')
        return machine

    def test_free_unix(self):
        path = self.path('gdb')
        self.check_free('unix:%s,server=on,wait=off' % path, 'unix:' + path)
        out = self.run_gdb('-ex', 'target remote ' + path, '-ex', 'p 6*7', '-ex', 'detach')
        self.assertIn('= 42', out)

    def test_free_tcp(self):
        self.check_free('tcp::0', r'tcp:0\.0\.0\.0:\d+')
        self.check_free('tcp:localhost:0', r'tcp:127\.0\.0\.1:\d+')

    def test_free_under_another_name(self):
        """-gdb chardev:ID; starting another would end it."""
        chardev = 'socket,id=own,server=on,wait=off,path=' + self.path('gdb')
        machine = self.kvm('-chardev', chardev, '-gdb', 'chardev:own')
        out = self.say(machine, 'info status', 'info registers')
        self.assertIn("registers: by QEMU's gdbstub at unix:%s, and by" % self.path('gdb'), out)
        self.assertIsNone(machine.stub())
        out = self.run_gdb('-ex', 'target remote ' + self.path('gdb'), '-ex', 'p 6*7', '-ex', 'detach')
        self.assertIn('= 42', out)

    def test_in_use(self):
        machine = self.kvm('-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'), '-smp', '2')
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self.path('gdb'))
            harness.wait_for(lambda: machine.status() == 'paused', 10, 'the other client pauses it')
            out = self.say(machine, 'info status', 'cpu 1', 'info registers')
            self.assertRegex(out, "registers: by QEMU's monitor, and read-only: .* is in use by another client")
            self.assertEqual(self.value(out, 'rip'), hmp_value(machine.registers(1), r'EIP=(\w+)'))
            self.assertEqual(self.value(out, 'cs_base'), hmp_value(machine.registers(1), r'^CS =\w+ (\w+)'))
            result = self.gdb(machine.target(), 'p $rax = 7')
            self.assertIn('is in use by another client', result)
            self.assertFalse(machine.stub().startswith('disconnected:'))
            self.assertEqual(machine.status(), 'paused')
            other.settimeout(harness.patience(10))
            other.send(b'+$?#3f')
            said = b''
            while b'$T' not in said:
                piece = other.recv(4096)
                self.assertTrue(piece, said)
                said += piece

    def test_owner_starts_one_meanwhile(self):
        """What is the owner's by then is not ended."""
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        machine.hmp('gdbserver none')
        machine.hmp('gdbserver unix:%s,server=on,wait=off' % self.path('gdb'))
        self.assertRegex(rsp.ask('g'), '^[0-9a-fx]+$')
        rsp.detach()
        self.assertEqual(machine.stub(), 'disconnected:unix:%s,server=on' % self.path('gdb'))
        self.assertEqual(machine.status(), 'running')


class TestDeath(QmpCase):
    """We end without a word: the guest goes on as it did before, and no gdbstub of ours is left."""

    STEPS = os.path.join(harness.BUILD, 'tests', 'vmgdbserver-steps')
    WORDS = ('console', '-c', 'info registers', '-c', 'cont', '-c', 'stop', '-c', 'info registers')

    def check_undone(self, machine, status, stub=None):
        harness.wait_for(lambda: not harness.tagged(self.tag), 10, 'our processes end')
        self.assertEqual(machine.status(), status)
        self.assertEqual(machine.stub(), stub)

    def each_step(self, machine, check, every=1):
        """It dies behind every message to and from QEMU, one after the other, or some of them."""
        env = dict(self.env(), STEP_WHO='front', STEP_LOG=self.path('log'))
        self.assertEqual(self.run_steps(machine, env), 0)
        with open(self.path('log')) as f:
            names = f.read().splitlines()
        self.assertGreater(names.count('command'), 20)
        self.assertGreater(names.count('answer'), 20)
        for at, name in list(enumerate(names, 1))[::every]:
            with self.subTest(step=at, name=name):
                self.assertEqual(self.run_steps(machine, dict(env, STEP_AT=str(at), STEP_SIGNAL='9')), -9)
                check()

    def run_steps(self, machine, env):
        proc = subprocess.run([self.STEPS, *self.WORDS, *machine.target()], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, timeout=60)
        return proc.returncode

    def test_each_step(self):
        machine = self.kvm()
        self.say(machine, 'info status')
        before, directories = len(harness.fds(machine.pid)), stub_directories()
        self.each_step(machine, lambda: self.check_undone(machine, 'running'))
        harness.wait_for(lambda: len(harness.fds(machine.pid)) <= before, 10, 'no descriptor is left in QEMU')
        self.check_no_directory_left(directories)

    def test_each_step_over_tcp(self):
        machine = self.tcp()
        self.each_step(machine, lambda: self.check_undone(machine, 'running'), every=4)

    def test_each_step_by_the_owners_stub(self):
        machine = self.kvm('-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'))
        stub = machine.stub()
        self.each_step(machine, lambda: self.check_undone(machine, 'running', stub), every=4)

    def test_pretty(self):
        machine = self.kvm('-chardev', 'socket,id=pretty,server=on,wait=off,path=' + self.path('pretty'),
                           '-mon', 'chardev=pretty,mode=control,pretty=on')
        machine.target = lambda: ('--qmp', self.path('pretty'))
        self.each_step(machine, lambda: self.check_undone(machine, 'running'), every=4)

    def kill_in_session(self, machine):
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        rsp.proc.kill()
        rsp.proc.wait()

    def test_what_was_paused_stays_so(self):
        machine = self.kvm()
        machine.stop()
        self.kill_in_session(machine)
        self.check_undone(machine, 'paused')

    def test_not_started(self):
        machine = self.s390x()
        self.kill_in_session(machine)
        self.check_undone(machine, 'prelaunch')

    def test_what_the_owner_did_meanwhile_stays(self):
        machine = self.tcg('-no-shutdown')
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        machine.hmp('gdbserver none')
        machine.hmp('gdbserver unix:%s,server=on,wait=off' % self.path('gdb'))
        machine.cont()
        machine.hmp(PC_POWER_OFF)
        harness.wait_for(lambda: machine.status() == 'shutdown', 10, 'shutdown')
        rsp.proc.kill()
        rsp.proc.wait()
        self.check_undone(machine, 'shutdown', 'disconnected:unix:%s,server=on' % self.path('gdb'))

    def test_qemu_hangs(self):
        """It is told as soon as it answers again."""
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        machine.proc.send_signal(signal.SIGSTOP)
        rsp.proc.kill()
        rsp.proc.wait()
        machine.proc.send_signal(signal.SIGCONT)
        self.check_undone(machine, 'running')

    def test_the_keeper_dies(self):
        """Nothing is different until we do; the next one puts the stub right."""
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        keeper, = harness.children(rsp.proc.pid)
        os.kill(keeper, signal.SIGKILL)
        self.assertRegex(rsp.ask('g'), '^[0-9a-fx]+$')
        rsp.proc.kill()
        rsp.proc.wait()
        harness.wait_for(lambda: machine.stub().startswith('disconnected:'), 10, 'our end')
        self.assertIn(', started for this', self.say(machine, 'info status'))
        self.assertIsNone(machine.stub())
        self.assertEqual(machine.status(), 'paused')


class TestSocket(QmpCase):
    def test_busy(self):
        machine = self.kvm()
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(machine.path('ours'))
            other.recv(1)
            result = self.console(machine.target(), 'info status', seconds=20)
            self.check_error(result, 1, 'one client at a time')
        self.say(machine, 'info status')

    def test_silent(self):
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(self.path('silent'))
            silent.listen(1)
            self.check_error(self.run_server('-', '--qmp', self.path('silent'), seconds=20), 1,
                             'no greeting within 5 s', 'one client at a time')

    def test_none(self):
        self.check_error(self.run_server('-', '--qmp', self.path('none')), 1, 'none', 'No such file')
        self.check_error(self.run_server('dump', '--qmp', 'localhost:', self.path('out')), 2, 'HOST:PORT')
        self.check_error(self.run_server('-', '--qmp', 'a', '--core', 'b'), 2, 'one target')

    def test_other_protocol(self):
        machine = self.machine('qemu-system-x86_64', '-S', '-monitor',
                               'unix:%s,server=on,wait=off' % self.path('hmp'))
        self.assertEqual(machine.status(), 'prelaunch')
        self.check_error(self.run_server('-', '--qmp', self.path('hmp')), 1, 'does not speak QMP')

    def test_other_architecture(self):
        if not harness.shutil.which('qemu-system-arm'):
            self.skipTest('qemu-system-arm is not installed')
        machine = self.machine('qemu-system-arm', '-M', 'virt', '-S')
        self.check_error(self.run_server('-', *machine.target()), 1, 'not supported: arm')

    def test_no_machine_yet(self):
        machine = self.machine('qemu-system-x86_64', '-preconfig')
        self.check_error(self.run_server('-', *machine.target()), 1, 'query-target: .*machine initialization')

    def test_qemu_exits_in_a_session(self):
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        machine.proc.kill()
        self.assertEqual(rsp.proc.wait(10), 1)
        err = rsp.proc.stderr.read().decode()
        self.assertRegex(err, 'vmgdbserver: .*has exited\n$')
        self.assertEqual(err.count('\n'), 1, err)

    def test_qemu_exits_while_it_runs(self):
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        rsp.send('c')
        harness.wait_for(machine.running, 10, 'continue')
        # QEMU 7.2 hangs when it has a command to answer as it ends: until all of ours have been.
        time.sleep(harness.patience(1))
        machine.proc.send_signal(signal.SIGTERM)
        self.assertRegex(rsp.receive().decode(), '^[XW]')
        self.assertEqual(rsp.proc.wait(10), 1)

    def test_qemu_hangs(self):
        """Leaving takes no longer than a command's time, and says what is left undone."""
        machine = self.kvm()
        rsp = self.rsp(machine.target())
        rsp.ask('?')
        machine.proc.send_signal(signal.SIGSTOP)
        rsp.proc.send_signal(signal.SIGTERM)
        rsp.proc.wait(40)
        self.assertRegex(rsp.proc.stderr.read().decode(), r'no answer .* within 1 s; process \d+ stays, and does it as')
        machine.proc.send_signal(signal.SIGCONT)
        harness.wait_for(machine.running, 10, 'the process that stays lets it run')
        self.say(machine, 'info status')
