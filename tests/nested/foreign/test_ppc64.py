# SPDX-License-Identifier: GPL-3.0-or-later
"""
KVM on ppc64el hosts: a bare machine (powernv), where KVM does breakpoints, and a
guest that runs guests (pseries), where the emulated hypervisor keeps their exception.
"""

import json
import os
import re
import subprocess
import unittest

import elfcore
import harness
import machine
import pattern

PC, F0 = 32, 38  # in gdb's order
N_GPRS = 29  # r29 to r31 are the guest code's own
STD, UNUSED = 8, 0x800  # in the guest's code: where it stores its counter, and where it never is
KILLS = 20
PROCESS_TABLE = 1 << 63 | pattern.GPA_TABLES | 4  # that the kernel tells, and no register
TOUCHED_GPA = pattern.GPA_DATA

KDUMPFILE_SCRIPT = '''
import json, sys, kdumpfile
core = kdumpfile.kdumpfile(sys.argv[1])
core.attr['arch.page_shift'] = 16  # which it knows of Linux alone
print(json.dumps({
    'arch': core.attr['arch.name'],
    'little': core.attr['arch.byte_order'] == 1,
    'cpus': core.attr['cpu.number'],
    'registers': dict(core.attr['cpu.0.reg'].items()),
    'memory': bytes(core.read(kdumpfile.KDUMP_MACHPHYSADDR, int(sys.argv[2]), 16)).hex(),
}))
'''


def spr(n, cpu=0):
    return pattern.value('D', 0, cpu, n)


def general(cpu=0):
    """What the VMM has set, and the guest leaves as it is."""
    return {**{'r%d' % n: pattern.value('G', 0, cpu, n) for n in range(N_GPRS)},
            'lr': spr(0, cpu), 'ctr': spr(1, cpu)}


def everything(cpu=0):
    vectors = {'vr%d' % n: pattern.value('H', 0, cpu, n) << 64 | pattern.value('X', 0, cpu, n) for n in range(32)}
    return {**general(cpu), **vectors,
            **{'f%d' % n: pattern.value('F', 0, cpu, n) for n in range(32)},
            **{'vs%dh' % n: pattern.value('Y', 0, cpu, n) for n in range(32)},
            'cr': 0x12345600 + cpu, 'xer': 0x20000000, 'r31': pattern.gpa_code(cpu),
            'sprg0': spr(2, cpu), 'sprg1': spr(3, cpu), 'sprg2': spr(4, cpu), 'sprg3': spr(5, cpu),
            'tar': spr(6, cpu), 'dar': spr(7, cpu), 'ebbhr': spr(8, cpu), 'spr_dscr': spr(9, cpu)}


class MachineCase(harness.Case):
    kind = None  # of the machine

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine = machine.Machine(cls.kind)

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def vmm(self, *options, **kw):
        vmm = machine.Vmm(self.machine, *options, **kw)
        self.addCleanup(vmm.close)
        return vmm

    def server(self, words):
        return '%s --allow-remote 0.0.0.0:%d %s' % (self.machine.program('vmgdbserver'), machine.PORT, words)

    def attach(self, vmm):
        """A client of a server in the machine."""
        self.machine.run('%s --once --attach %d 2>/tmp/err & '
                         'echo $! >/tmp/front; '
                         'until grep -q Listening /tmp/err; do kill -0 $! || break; usleep 100000; done; '
                         'cat /tmp/err' % (self.server(''), vmm.pid))
        return self.client()

    def client(self):
        rsp = self.connect_tcp('127.0.0.1', self.machine.port)
        self.assertRegex(rsp.ask('?', 120), '^T05')
        return rsp

    def monitor(self, rsp, command):
        text, end = rsp.monitor(command, 120)
        self.assertEqual(end, 'OK', text)
        return text

    def check_registers(self, rsp, cpu, want):
        self.monitor(rsp, 'cpu %d' % cpu)
        text = self.monitor(rsp, 'info registers')
        got = {name: value for name, value in re.findall(r'(\w+)=(\S+)', text)}
        for name, value in want.items():
            self.assertEqual(int(got[name], 16), value, '%s of vCPU %d' % (name, cpu))

    def check_memory(self, rsp):
        self.assertEqual(rsp.read(TOUCHED_GPA, pattern.PAGE), pattern.page(0, TOUCHED_GPA))
        self.assertEqual(rsp.read(pattern.GPA_HIGH - 8 + pattern.HIGH_BYTES + 16, 8), None)

    def check_core(self, path, cpus=1):
        """By readers that know nothing of us."""
        said = subprocess.run(['eu-readelf', '-h', '-l', '-n', path], stdout=subprocess.PIPE, check=True).stdout.decode()
        for want in ('CORE (Core file)', 'PowerPC', "little endian", 'PRSTATUS'):
            self.assertIn(want, said)
        with elfcore.Core(path) as core:
            self.assertEqual(core.order, '<')
        out = self.run_gdb('-c', path, '-ex', 'info threads', '-ex', 'info registers', '-ex', 'p $f7', '-ex', 'p/x $vr9',
                           program='gdb-multiarch')
        found = {m[0]: int(m[1], 16) for m in re.findall(r'^(\w+) +0x([0-9a-f]+)', out, re.M)}
        for name, value in general().items():
            self.assertEqual(found[name], value, name)
        self.check_kdumpfile(path, cpus)

    def check_kdumpfile(self, path, cpus):
        if subprocess.run(['/usr/bin/python3', '-c', 'import kdumpfile'], stderr=subprocess.DEVNULL).returncode:
            raise unittest.SkipTest('python3-libkdumpfile is not installed')
        done = subprocess.run(['/usr/bin/python3', '-c', KDUMPFILE_SCRIPT, path, str(TOUCHED_GPA)],
                              stdout=subprocess.PIPE, check=True)
        got = json.loads(done.stdout)
        self.assertEqual((got['arch'], got['little'], got['cpus']), ('ppc64', True, cpus))
        self.assertEqual(bytes.fromhex(got['memory']), pattern.page(0, TOUCHED_GPA)[:16])
        for name, value in general().items():
            self.assertEqual(got['registers'][name], value, name)


class Attached:
    """What any ppc64 host does whose kernel tells its types."""

    def test_list(self):
        vmm = self.vmm()
        said = '\n'.join(self.machine.run(self.machine.program('vmgdbserver') + ' list'))
        self.assertRegex(said, r'(?m)^ *%d testvmm +1 +2 +48 MiB' % vmm.pid)

    def test_registers_and_memory(self):
        vmm = self.vmm()
        rsp = self.attach(vmm)
        for cpu in range(2):
            self.check_registers(rsp, cpu, {**everything(cpu), 'prtb': PROCESS_TABLE})
        self.check_memory(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.check_counts()

    def test_mmio(self):
        """Each input is handed over and stored, none twice."""
        vmm = self.vmm('--mmio', '--cpus', '1')
        for _ in range(3):
            rsp = self.attach(vmm)
            at = pattern.gpa_code(0) + pattern.COUNTER_OFFSET
            n, last = int.from_bytes(rsp.read(at, 8), 'little'), int.from_bytes(rsp.read(at + 8, 4), 'little')
            self.assertIn(last - n, (pattern.input_value(0, 0), pattern.input_value(0, 1)))
            self.check_registers(rsp, 0, {name: value for name, value in general().items() if name != 'r3'})
            self.assertEqual(rsp.thread(1), 'OK')
            r3 = int.from_bytes(bytes.fromhex(rsp.ask('p3')), 'little')
            self.assertIn(r3 - last, (0, 1))
            self.assertEqual(rsp.detach(), 'OK')
            vmm.check_counts()

    def test_writes(self):
        vmm = self.vmm('--cpus', '1')
        rsp = self.attach(vmm)
        value = 0x1122334455667788
        for number in (7, F0 + 3):
            self.assertEqual(rsp.ask('P%x=%s' % (number, value.to_bytes(8, 'little').hex())), 'OK')
        self.assertEqual(rsp.ask('M%x,4:%s' % (TOUCHED_GPA, 'c0ffee00')), 'OK')
        self.check_registers(rsp, 0, {'r7': value, 'f3': value})
        self.assertEqual(rsp.detach(), 'OK')
        vmm.command('pause')
        self.assertEqual(int(vmm.command('regs 0 0')['r7'], 16), value)
        vmm.command('run')
        rsp = self.attach(vmm)
        self.check_registers(rsp, 0, {'r7': value, 'f3': value, 'r8': general()['r8']})
        self.assertEqual(rsp.read(TOUCHED_GPA, 4).hex(), 'c0ffee00')
        self.assertEqual(rsp.detach(), 'OK')
        vmm.check_counts()

    def test_dump(self):
        vmm = self.vmm()
        self.machine.run('%s dump -q --attach %d /out/core' % (self.machine.program('vmgdbserver'), vmm.pid))
        vmm.check_counts()
        self.check_core(os.path.join(self.machine.out, 'core'), 2)

    def test_snapshot(self):
        vmm = self.vmm()
        said = '\n'.join(self.machine.run('%s dump --snapshot --attach %d /out/picture 2>&1' % (
            self.machine.program('vmgdbserver'), vmm.pid)))
        self.assertNotIn('cannot take a snapshot', said)
        vmm.check_counts()
        self.check_core(os.path.join(self.machine.out, 'picture'), 2)
        self.assertNotEqual(self.machine.shell('grep -l vmgdb-snapshot /proc/[0-9]*/comm')[0], 0, 'the copy is gone')
        vmm.check_counts()

    def test_kills(self):
        """Front end and guardian in turn, at moments that differ."""
        vmm = self.vmm()
        kill = ('front() { kill -9 $1; }; guardian() { for p in /proc/[0-9]*; do read -r c <$p/comm && '
                '[ "$c" = vmgdb-guardian ] && kill -9 ${p#/proc/}; done 2>/dev/null; }; ')
        for i in range(KILLS):
            who = ('front', 'guardian')[i % 2]
            self.machine.run('%s %s dump -q --attach %d /dev/null & usleep %d; %s $!; wait $!; :' % (
                kill, self.machine.program('vmgdbserver'), vmm.pid, 300000 + i * 611953 % 2500000, who))
            self.assertEqual(self.machine.shell('kill -0 %d' % vmm.pid)[0], 0, 'VMM after kill %d' % i)
        vmm.check_counts()
        rsp = self.attach(vmm)
        self.check_registers(rsp, 0, everything(0))
        self.assertEqual(rsp.detach(), 'OK')
        vmm.check_counts()


class TestPowernv(Attached, MachineCase):
    kind = 'powernv'

    def pc(self, reply):
        return int.from_bytes(bytes.fromhex(re.search(r'[;5]20:([0-9a-f]{16})', reply).group(1)), 'little')

    def test_breakpoint_and_steps(self):
        vmm = self.vmm('--cpus', '1')
        rsp = self.attach(vmm)
        code = pattern.gpa_code(0)
        counter = code + pattern.COUNTER_OFFSET
        self.assertEqual(rsp.ask('Z0,%x,4' % (code + STD), 60), 'OK')
        self.assertEqual(self.pc(rsp.ask('vCont;c', 60)), code + STD)
        before = int.from_bytes(rsp.read(counter, 8), 'little')
        # Over the breakpoint, the branch back to the start, and on to it again.
        for offset in (12, 0, 4, STD):
            self.assertEqual(self.pc(rsp.ask('vCont;s:1', 60)), code + offset)
        self.assertEqual(int.from_bytes(rsp.read(counter, 8), 'little'), before + 1)
        for n in range(3):
            self.assertEqual(self.pc(rsp.ask('vCont;c', 60)), code + STD)
            self.assertEqual(int.from_bytes(rsp.read(counter, 8), 'little'), before + 2 + n)
        self.assertEqual(rsp.ask('z0,%x,4' % (code + STD)), 'OK')
        self.check_registers(rsp, 0, everything(0))
        self.assertEqual(rsp.detach(), 'OK')
        vmm.check_counts()

    def test_breakpoint_of_one_of_two(self):
        """The other one goes on, and both are right afterwards."""
        vmm = self.vmm()
        rsp = self.attach(vmm)
        at = pattern.gpa_code(1) + STD
        self.assertEqual(rsp.ask('Z0,%x,4' % at, 60), 'OK')
        for _ in range(3):
            reply = rsp.ask('vCont;c', 60)
            self.assertIn('thread:2;', reply)
            self.assertEqual(self.pc(reply), at)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.check_counts()

    def test_kill_while_armed(self):
        vmm = self.vmm('--cpus', '1')
        for offset in (STD, UNUSED):
            at = pattern.gpa_code(0) + offset
            rsp = self.attach(vmm)
            code = rsp.read(at, 4)
            self.assertEqual(rsp.ask('Z0,%x,4' % at, 60), 'OK')
            rsp.send('vCont;c')
            self.machine.run('sleep 1; kill -9 $(cat /tmp/front)')
            vmm.check_counts()
            rsp = self.attach(vmm)
            self.assertEqual(rsp.read(at, 4), code)
            self.assertEqual(rsp.detach(), 'OK')
            vmm.check_counts()


class TestPseries(Attached, MachineCase):
    kind = 'pseries'

    def test_units(self):
        for name in ('check_tracee', 'check_kpeek'):
            self.machine.check_unit(self, name)

    def test_breakpoints_are_refused(self):
        vmm = self.vmm('--cpus', '1')
        rsp = self.attach(vmm)
        self.assertRegex(rsp.ask('Z0,%x,4' % pattern.gpa_code(0), 60), '^E')
        self.assertIn('software breakpoints no', self.monitor(rsp, 'info status'))
        self.assertEqual(rsp.detach(), 'OK')
        vmm.check_counts()


class TestPower8(MachineCase):
    """The other instruction for system calls; the machine runs no KVM."""

    kind = 'power8'

    def test_units(self):
        self.machine.check_unit(self, 'check_tracee')


class TestPseriesWithoutBtf(MachineCase):
    """Memory slots are known where the VMM was started under the server."""

    kind = 'pseries-without-btf'

    def test_attach_says_why_not(self):
        vmm = self.vmm()
        status, said = self.machine.shell('%s dump -q --attach %d /dev/null 2>&1' % (
            self.machine.program('vmgdbserver'), vmm.pid))
        self.assertEqual(status, 1)
        self.assertIn('this kernel has no BTF', '\n'.join(said))
        vmm.check_counts()

    def test_started_under_the_server(self):
        vmm = self.vmm('--cpus', '1', words=self.server('--once') + ' --')
        rsp = self.client()
        self.check_registers(rsp, 0, everything())
        self.check_memory(rsp)
        self.monitor(rsp, 'dump-guest-memory /out/held')
        self.check_core(os.path.join(self.machine.out, 'held'))
        self.assertEqual(rsp.detach(), 'OK')
        vmm.read_start()
        vmm.check_counts()
