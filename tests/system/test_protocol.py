# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets and uses of gdb on a live guest that the other tests do not touch."""

import os
import re

import harness
import pattern
from test_gdb import memory_lines


def crc(data):
    """gdb's checksum of a section: CRC-32 with the highest bit first, and no inversion at the end."""
    value = 0xffffffff
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04c11db7 if value >> 31 else 0)) & 0xffffffff
    return value


class TestMemory(harness.Case):
    def test_checksum(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        data = rsp.read(pattern.GVA_DATA, 0x2000)
        self.assertEqual(len(data), 0x2000)
        self.assertEqual(rsp.ask('qCRC:%x,2000' % pattern.GVA_DATA), 'C%08x' % crc(data))
        self.assertRegex(rsp.ask('qCRC:%x,2001' % pattern.GVA_DATA), '^E')
        rsp.detach()

    def test_find_in_gdb(self):
        """The second page of the data lies elsewhere in physical memory."""
        vmm = self.vmm()
        first, second = pattern.word(0, pattern.GPA_DATA + 0x1ff8), pattern.word(0, pattern.GPA_DATA)
        where = pattern.GVA_DATA + 0xff8
        out = self.gdb(vmm, 'find /g %#x, +0x2000, %#x, %#x' % (pattern.GVA_DATA, first, second),
                       'find /g %#x, +0x2000, %#x' % (pattern.GVA_DATA, first ^ 1), 'detach')
        self.assertRegex(out, r'(?m)^%#x' % where)
        self.assertIn('1 pattern found', out)
        self.assertIn('Pattern not found', out)

    def test_search_ends_where_memory_does(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        last = pattern.word(0, pattern.GPA_DATA + 0xff8).to_bytes(8, 'little').hex()
        # As a packet in digits cannot carry any byte, look for a text that is put there.
        self.assertEqual(rsp.write(pattern.GVA_DATA + 0x1ff8, b'the end.'), 'OK')
        self.assertEqual(rsp.ask('qSearch:memory:%x;4000;the end.' % pattern.GVA_DATA),
                         '1,%x' % (pattern.GVA_DATA + 0x1ff8))
        self.assertRegex(rsp.ask('qSearch:memory:%x;4000;the end!' % pattern.GVA_DATA), '^E')
        rsp.write(pattern.GVA_DATA + 0x1ff8, bytes.fromhex(last))
        rsp.detach()
        vmm.counts_on()


class TestPython(harness.Case):
    """As Linux's scripts/gdb and pwndbg use a stub."""

    def script(self, text):
        path = self.path('script.py')
        with open(path, 'w') as f:
            f.write(text)
        return 'source ' + path

    def test_reads_in_loops(self):
        vmm = self.vmm()
        out = self.gdb(vmm, self.script(
            'import gdb\n'
            'inferior = gdb.selected_inferior()\n'
            'for i in range(300):\n'
            '    at = %d + 8 * (i %% 512)\n'
            '    word = int.from_bytes(bytes(inferior.read_memory(at, 8)), "little")\n'
            '    print("%%#x: %%#x" %% (at, word))\n' % pattern.GVA_DATA), 'detach')
        words = dict((int(a, 16), int(w, 16)) for a, w in re.findall(r'^(0x[0-9a-f]+): (0x[0-9a-f]+)$', out, re.M))
        self.assertEqual(len(words), 300, out[-2000:])
        for at, word in words.items():
            self.assertEqual(word, pattern.word(0, pattern.GPA_DATA + 0x1000 + at - pattern.GVA_DATA), hex(at))

    def test_what_linux_scripts_ask(self):
        """Its utils.py takes the stub for QEMU's if the monitor says so, and goes on without if not."""
        vmm = self.vmm()
        out = self.gdb(vmm, self.script(
            'import gdb\n'
            'text = gdb.execute("monitor info version", to_string=True)\n'
            'print("said", repr(text))\n'
            'print("threads", len(gdb.selected_inferior().threads()))\n'), 'detach')
        self.assertRegex(out, r"said .\d+\.\d+")
        self.assertIn('threads 2', out)

    def test_physical_mode_round_trips(self):
        """pwndbg switches for each physical read, and asks which mode it was before."""
        vmm = self.vmm()
        out = self.gdb(vmm, self.script(
            'import gdb\n'
            'inferior = gdb.selected_inferior()\n'
            'def send(packet):\n'
            '    return gdb.execute("maintenance packet " + packet, to_string=True).split(\'received: "\')[1].strip(\'"\\n\')\n'
            'for i in range(20):\n'
            '    was = send("qqemu.PhyMemMode")\n'
            '    assert send("Qqemu.PhyMemMode:1") == "OK"\n'
            '    gdb.execute("maintenance flush dcache")\n'
            '    word = int.from_bytes(bytes(inferior.read_memory(%d, 8)), "little")\n'
            '    assert send("Qqemu.PhyMemMode:" + was) == "OK"\n'
            '    gdb.execute("maintenance flush dcache")\n'
            '    virtual = int.from_bytes(bytes(inferior.read_memory(%d, 8)), "little")\n'
            '    print("seen %%s %%#x %%#x" %% (was, word, virtual))\n' % (pattern.GPA_DATA, pattern.GVA_DATA)),
            'detach')
        line = 'seen 0 %#x %#x\n' % (pattern.word(0, pattern.GPA_DATA), pattern.word(0, pattern.GPA_DATA + 0x1000))
        self.assertEqual(out.count(line), 20, out)


class TestCut(harness.Case):
    """A connection that is cut with breakpoints set: nothing of it stays in the guest."""

    BREAK = 'Z0,%x,1' % pattern.GVA_CODE
    CLEAR = 'z0,%x,1' % pattern.GVA_CODE
    RANGE = 'vCont;r0,%x:1;c' % (pattern.GVA_CODE + 0x1000)

    def code(self, vmm):
        hva = vmm.slots()[0]['hva']
        return [vmm.peek(hva + pattern.GPA_CODE + n * pattern.CODE_STRIDE, 64) for n in range(2)]

    def go_on(self, vmm, rsp, packet):
        """Without the breakpoint that is come by, but with another."""
        self.assertEqual(rsp.ask(self.CLEAR), 'OK')
        rsp.send(packet)
        vmm.counts_on()

    def at_once(self, vmm, rsp):
        pass

    def at_a_hit(self, vmm, rsp):
        self.assertRegex(rsp.ask('vCont;c'), '^T05')

    def while_running(self, vmm, rsp):
        self.go_on(vmm, rsp, 'vCont;c')

    def in_a_range(self, vmm, rsp):
        self.go_on(vmm, rsp, self.RANGE)

    def after_an_interrupt(self, vmm, rsp):
        self.go_on(vmm, rsp, self.RANGE)
        rsp.interrupt()
        self.assertRegex(rsp.receive().decode(), '^T02')
        self.assertRegex(rsp.ask('vCont;s:1'), '^T05thread:1;')

    def test_cut(self):
        vmm = self.vmm()
        look, code = harness.Look(vmm.pid), self.code(vmm)
        server, path = self.listen_unix(vmm)
        for when in (self.at_once, self.at_a_hit, self.while_running, self.in_a_range, self.after_an_interrupt):
            with self.subTest(when=when.__name__):
                rsp = self.connect_unix(path)
                self.assertRegex(rsp.ask('?'), '^T05')
                self.assertEqual(rsp.ask(self.BREAK), 'OK')
                self.assertEqual(rsp.ask('Z0,%x,1' % (pattern.GVA_CODE + 0x20)), 'OK')
                when(vmm, rsp)
                rsp.close()
                vmm.counts_on()
                self.assertEqual(self.code(vmm), code)
        server.terminate()
        self.assertEqual(server.wait(10), 0)
        look.check_same(self)


class TestExtended(harness.Case):
    def test_gdb_attaches_to_one_after_the_other(self):
        """With a server that was started for none of them."""
        vmms = [self.vmm(), self.vmm('--cpus', '3')]
        looks = [harness.Look(vmm.pid) for vmm in vmms]
        server, path = self.listen_unix(('--multi',))
        commands = ['target extended-remote ' + path]
        for vmm in vmms:
            commands += ['attach %d' % vmm.pid, 'info threads', 'x/gx %#x' % pattern.GVA_DATA, 'detach']
        commands += ['attach %d' % os.getpid(), 'attach %d' % vmms[0].pid, 'x/gx %#x' % (pattern.GVA_DATA + 8),
                     'kill', 'info inferiors', 'disconnect']
        script = self.path('script.gdb')
        with open(script, 'w') as f:
            f.write('set confirm off\nset pagination off\nset width 0\npython\nimport gdb\nfor c in %r:\n'
                    '    try:\n        gdb.execute(c)\n    except gdb.error as e:\n        print("error:", e)\nend\n'
                    % commands)
        out = self.run_gdb('-x', script)
        self.assertEqual(out.count('"vCPU 2"'), 1, out)
        self.assertEqual(out.count('"vCPU 1"'), 2, out)
        words = memory_lines(out)
        self.assertEqual(words.get(pattern.GVA_DATA), pattern.word(0, pattern.GPA_DATA + 0x1000), out)
        self.assertEqual(words.get(pattern.GVA_DATA + 8), pattern.word(0, pattern.GPA_DATA + 0x1008), out)
        self.assertEqual(re.findall(r'^error: (.*)$', out, re.M), ['Attaching to Remote target failed'], out)
        for vmm, look in zip(vmms, looks):
            vmm.counts_on()
            look.check_same(self)
        server.terminate()
        self.assertEqual(server.wait(10), 0)

    def test_vmm_that_exits(self):
        """The client is told, and attaches to another."""
        one, other = self.vmm(), self.vmm()
        _, path = self.listen_unix(('--multi',))
        rsp = self.connect_unix(path)
        self.assertEqual(rsp.ask('!'), 'OK')
        self.assertEqual(rsp.ask('?'), 'W00')
        self.assertRegex(rsp.ask('vAttach;%x' % one.pid), '^T05')
        rsp.send('vCont;c')
        one.counts_on()
        one.proc.kill()
        self.assertEqual(rsp.receive().decode(), 'X09')
        self.assertRegex(rsp.ask('vAttach;%x' % other.pid), '^T05')
        self.assertEqual(rsp.read(pattern.GVA_DATA, 8),
                         pattern.word(0, pattern.GPA_DATA + 0x1000).to_bytes(8, 'little'))
        rsp.close()
        other.counts_on()

    def test_attached_while_held_by_another(self):
        """What cannot be had leaves the client what it has."""
        one, other = self.vmm(), self.vmm()
        holder = self.rsp(other)
        holder.ask('?')
        _, path = self.listen_unix((*harness.target_of(one), '--multi'))
        rsp = self.connect_unix(path)
        rsp.ask('!')
        self.assertRegex(rsp.ask('vAttach;%x' % other.pid), r'^E\.')
        self.assertRegex(rsp.ask('?'), '^T05')
        self.assertEqual(len(rsp.read(pattern.GVA_DATA, 8)), 8)
        rsp.close()
        holder.detach()
        one.counts_on()
        other.counts_on()
