# SPDX-License-Identifier: GPL-3.0-or-later
"""Real lldb on a saved guest and on a live one: registers, memory, threads, packets of its own."""

import re
import subprocess

import harness
import pattern

INCREMENT_BYTES = 8  # of the first instruction of the test VMM's guests: incq of an absolute address


class LldbCase(harness.Case):
    def lldb(self, path, *commands, seconds=120):
        """lldb, connected to a server's unix socket; what it prints on both outputs."""
        harness.require_program('lldb')
        words = ['lldb', '--batch', '--no-lldbinit', '--no-use-colors']
        for command in ('settings set plugin.process.gdb-remote.packet-timeout 20',
                        'process connect --plugin gdb-remote unix-connect://' + path, *commands):
            words += ['-o', command]
        proc = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=self.env())
        self.addCleanup(harness._end, proc)
        try:
            out, _ = proc.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            proc.kill()
            self.fail('lldb: no end within %g seconds: %r' % (seconds, proc.communicate()[0]))
        return out.decode(errors='replace')

    def served(self, vmm, *commands, **kw):
        """A session of lldb with a server that is attached to this VMM, or that has this core."""
        _, path = self.listen_unix(vmm, '--once')
        return self.lldb(path, *commands, **kw)

    def check_register(self, out, name, value):
        found = re.findall(r'^ *%s = (0x[0-9a-f]+)' % name, out, re.M)
        self.assertTrue(found, '%s in %s' % (name, out))
        self.assertEqual(hex(int(found[-1], 16)), hex(value), name)

    def check_looks(self, target, info):
        """What a guest of the test VMM shows, wherever it is."""
        out = self.served(target, 'thread list', 'thread select 2', 'register read rbx r15 fs_base',
                          'memory read --size 8 --format x --count 2 %#x' % pattern.GVA_DATA,
                          'memory region %#x' % pattern.GVA_DATA, 'memory region %#x' % (pattern.GVA_DATA + 0x2000),
                          'process plugin packet monitor info version', 'process plugin packet send qC', 'detach')
        self.assertEqual(re.findall(r'^[* ] thread #(\d+): tid', out, re.M), ['1', '2'], out)
        want = pattern.registers('long', 0, 1, info.work, info.missing(1))
        for name in ('rbx', 'r15', 'fs_base'):
            self.check_register(out, name, want[name])
        words = re.search(r'^0x0*%x: (0x[0-9a-f]+) (0x[0-9a-f]+)' % pattern.GVA_DATA, out, re.M)
        self.assertTrue(words, out)
        self.assertEqual([int(w, 16) for w in words.groups()],
                         [pattern.word(0, pattern.GPA_DATA + 0x1000), pattern.word(0, pattern.GPA_DATA + 0x1008)])
        self.assertRegex(out, r'\[0x0*%x-0x0*%x\) r' % (pattern.GVA_DATA, pattern.GVA_DATA + 0x1000))
        self.assertRegex(out, r'\[0x0*%x-0x[0-9a-f]+\) ---' % (pattern.GVA_DATA + 0x2000))
        self.assertRegex(out, r'\b\d+\.\d+\.\d+ \(')
        self.assertIn('response: QC', out)
        self.assertIn('detached', out)


class TestLldb(LldbCase):
    def test_core(self):
        vmm = self.vmm()
        core = self.path('core')
        self.dump(vmm, core)
        self.check_looks(core, vmm)

    def test_live_guest(self):
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        self.check_looks(vmm, vmm)
        vmm.counts_on()
        look.check_same(self)

    def test_writes(self):
        vmm = self.vmm()
        out = self.served(vmm, 'thread select 2', 'register write rbx 0x1122334455667788', 'register read rbx',
                          'memory write --size 8 %#x 0x0102030405060708' % pattern.GVA_DATA,
                          'thread select 1', 'register read rbx', 'detach')
        self.assertIn('rbx = 0x1122334455667788', out)
        self.check_register(out, 'rbx', pattern.registers('long', 0, 0)['rbx'])
        hva = vmm.slots()[0]['hva']
        self.assertEqual(vmm.peek(hva + pattern.GPA_DATA + 0x1000, 8).hex(), '0807060504030201')
        vmm.counts_on()

    def check_run_control(self, *how):
        """Both vCPUs come by the breakpoint again and again."""
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        out = self.served(vmm, 'breakpoint set %s --address %#x' % (' '.join(how), pattern.GVA_CODE), 'continue',
                          'continue', 'breakpoint delete 1', 'thread step-inst', 'register read rip', 'detach')
        self.assertGreaterEqual(len(re.findall(r'stop reason = breakpoint 1\.1', out)), 2, out)
        self.assertRegex(out, 'stop reason = instruction step into')
        self.check_register(out, 'rip', pattern.GVA_CODE + INCREMENT_BYTES)
        self.assertIn('detached', out)
        vmm.counts_on()
        look.check_same(self)

    def test_breakpoint(self):
        self.check_run_control()

    def test_hardware_breakpoint(self):
        self.check_run_control('--hardware')
