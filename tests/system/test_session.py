# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol on a live guest, spoken by a client of our own that shows what gdb hides."""

import re
import signal
import xml.etree.ElementTree as xml

import elfcore
import harness
import pattern


class TestLiveSession(harness.Case):
    def read_object(self, rsp, name):
        data = ''
        while True:
            reply = rsp.ask('qXfer:%s:read::%x,%x' % (name, len(data), 0x1000))
            data += reply[1:]
            if reply[0] == 'l':
                return data
            self.assertEqual(reply[0], 'm', reply)

    def test_stopped_while_connected(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        self.assertRegex(rsp.ask('?'), '^[TS]')
        before = vmm.peek_counters()
        self.assertEqual(rsp.ask('qC')[:2], 'QC')
        self.assertEqual(vmm.peek_counters(), before)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_physical_memory(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        self.assertEqual(rsp.physical(), 'OK')
        word = lambda gpa: pattern.word(0, gpa).to_bytes(8, 'little')
        self.assertEqual(rsp.read(pattern.GPA_DATA, 8), word(pattern.GPA_DATA))
        self.assertEqual(rsp.read(pattern.GPA_ROM + 0x1008, 8), word(pattern.GPA_ROM + 0x1008))
        end = pattern.RAM_BYTES
        self.assertEqual(rsp.read(end - 8, 16), word(end - 8), 'the end of a block')
        across = pattern.GPA_HIGH
        self.assertEqual(len(rsp.read(across - 8, 16)), 16, 'ROM and RAM adjoin at 4 GiB')
        for hole in (pattern.GPA_MMIO, pattern.RAM_BYTES, pattern.GPA_HIGH + pattern.HIGH_BYTES, 1 << 60):
            self.assertIsNone(rsp.read(hole, 8), hex(hole))
        self.assertEqual(rsp.physical(False), 'OK')
        self.assertEqual(rsp.read(pattern.GVA_DATA, 8), word(pattern.GPA_DATA + 0x1000))
        rsp.detach()

    def test_virtual_memory_ends(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        self.assertEqual(len(rsp.read(pattern.GVA_DATA + 0x1ff0, 0x100)), 16)
        self.assertEqual(len(rsp.read(pattern.GVA_LAST + 0xff8, 0x100)), 8)
        for nothing in (pattern.GVA_DATA + 0x2000, pattern.GVA_CODE + 0x2000, 0x123456789000, 1 << 63):
            self.assertIsNone(rsp.read(nothing, 8), hex(nothing))
        rsp.detach()

    def test_writes(self):
        vmm = self.vmm()
        hva = vmm.slots()[0]['hva']
        rsp = self.rsp(vmm)
        self.assertEqual(rsp.write(pattern.GVA_DATA, b'spelled out'), 'OK')
        self.assertEqual(rsp.read(pattern.GVA_DATA, 11), b'spelled out')
        self.assertEqual(vmm.peek(hva + pattern.GPA_DATA + 0x1000, 11), b'spelled out')
        before = vmm.peek(hva + pattern.GPA_DATA + 0xff8, 8)
        self.assertRegex(rsp.write(pattern.GVA_DATA + 0x1ff8, bytes(16)), '^E', 'half of it has no page')
        self.assertEqual(vmm.peek(hva + pattern.GPA_DATA + 0xff8, 8), before, 'all or nothing')
        rsp.physical()
        self.assertRegex(rsp.write(pattern.GPA_MMIO, b'x'), '^E')
        rsp.detach()
        vmm.counts_on()

    def test_threads(self):
        vmm = self.vmm('--cpus', '3')
        rsp = self.rsp(vmm)
        threads = rsp.ask('qfThreadInfo')
        while not threads.endswith('l'):
            more = rsp.ask('qsThreadInfo')
            threads = threads + ',' + more[1:] if more != 'l' else threads + 'l'
        self.assertEqual(len(threads.strip('ml').split(',')), 3, threads)
        for thread in threads.strip('ml').split(','):
            self.assertEqual(rsp.ask('T' + thread), 'OK')
        self.assertRegex(rsp.ask('T7777'), '^E')
        root = xml.fromstring(self.read_object(rsp, 'threads'))
        self.assertEqual([t.get('core') for t in root.iter('thread')], ['0', '1', '2'])
        rsp.detach()

    def check_memory_map(self, rom, *options):
        """
        gdb looks virtual addresses up in it and refuses what it does not find: so
        all that is no block is RAM as well.
        """
        vmm = self.vmm(*options)
        rsp = self.rsp(vmm)
        text = re.sub(r'<!DOCTYPE[^>]*>', '', self.read_object(rsp, 'memory-map'))
        found = sorted((int(m.get('start'), 0), int(m.get('length'), 0), m.get('type'))
                       for m in xml.fromstring(text).iter('memory'))
        for slot in vmm.slots():
            self.assertIn((slot['gpa'], slot['bytes'], rom if slot['readonly'] else 'ram'), found)
        self.assertEqual([m for m in found if m[2] != 'ram' and m[0] != pattern.GPA_ROM], [])
        at = 0
        for start, size, _ in found:
            self.assertEqual(start, at, found)
            at = start + size
        self.assertEqual(at, 1 << 64)
        rsp.detach()

    def test_memory_map_without_paging(self):
        self.check_memory_map('rom', '--mode', 'flat')

    def test_memory_map_with_paging(self):
        """Nothing maps the ROM at its own address."""
        self.check_memory_map('ram')

    def test_target_description_names_every_register(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        text = rsp.ask('qXfer:features:read:target.xml:0,40000')
        names = set(re.findall(r'<reg name="([^"]+)"', text))
        self.assertEqual(set(pattern.registers('long', 0, 0, missing=vmm.missing(0))) - names, set())
        rsp.detach()

    def test_continue_and_interrupt(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.send('vCont;c')
        vmm.counts_on()
        rsp.interrupt()
        self.assertRegex(rsp.receive(10).decode(), '^[TS]')
        before = vmm.peek_counters()
        rsp.ask('qC')
        self.assertEqual(vmm.peek_counters(), before)
        rsp.detach()
        vmm.counts_on()

    def test_what_cannot_be_done_says_so(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('qSupported:error-message+')
        for packet in ('Z0,%x,1' % (pattern.GVA_CODE + 0x3000), 'Z3,%x,8' % pattern.GVA_DATA,
                       'Z2,%x,40' % pattern.GVA_DATA, 'Z5,%x,1' % pattern.GVA_CODE):
            self.assertRegex(rsp.ask(packet), r'^E\.', packet)
        self.assertEqual(rsp.ask('vMustReplyEmpty'), '')
        rsp.detach()
        vmm.counts_on()

    def test_kill_lets_go(self):
        vmm = self.vmm()
        for packet in ('k', 'vKill;1'):
            rsp = self.rsp(vmm)
            rsp.ask('?')
            rsp.send(packet)
            rsp.proc.wait(10)
            vmm.counts_on()

    def test_connection_that_is_cut(self):
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        rsp = self.rsp(vmm)
        rsp.ask('?')
        rsp.hang_up()
        vmm.counts_on()
        look.check_same(self)

    def test_monitor_of_a_live_guest(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        text, end = rsp.monitor('info registers')
        self.assertEqual(end, 'OK', text)
        self.assertIn('%016x' % pattern.value('G', 0, 0, 3), text.replace('0x', ''), 'rbx')
        text, end = rsp.monitor('info mtree')
        self.assertEqual(end, 'OK')
        for slot in vmm.slots():
            self.assertIn('%x' % slot['gpa'], text)
        text, end = rsp.monitor('xp /2gx 0x%x' % pattern.GPA_DATA)
        self.assertIn('%016x' % pattern.word(0, pattern.GPA_DATA + 8), text)
        text, end = rsp.monitor('gva2gpa 0x%x' % pattern.GVA_DATA)
        self.assertIn('%x' % (pattern.GPA_DATA + 0x1000), text)
        text, end = rsp.monitor('gpa2hva 0x%x' % pattern.GPA_DATA)
        self.assertIn('%x' % (vmm.slots()[0]['hva'] + pattern.GPA_DATA), text)
        text, end = rsp.monitor('no such command')
        self.assertTrue(text or end.startswith('E'), 'an unknown command is not silent')
        rsp.detach()
        vmm.counts_on()


class TestSlotsBetweenStops(harness.Case):
    def stop_again(self, rsp):
        rsp.interrupt()
        self.assertRegex(rsp.receive(10).decode(), '^[TS]')

    def test_slot_comes_and_goes(self):
        vmm = self.vmm('--change-slots')
        rsp = self.rsp(vmm)
        rsp.physical()
        self.assertIsNone(rsp.read(pattern.GPA_EXTRA, 8))
        rsp.send('c')
        slots = vmm.line_after_signal(signal.SIGUSR2)[0]['slots']
        self.assertEqual(slots[-1]['gpa'], pattern.GPA_EXTRA)
        self.stop_again(rsp)
        # Page 1 is the first that is touched.
        self.assertEqual(rsp.read(pattern.GPA_EXTRA + 0x1000, 8),
                         pattern.word(0, pattern.GPA_EXTRA + 0x1000).to_bytes(8, 'little'))
        self.assertIn('%x' % pattern.GPA_EXTRA, rsp.monitor('info mtree')[0])
        rsp.send('c')
        vmm.line_after_signal(signal.SIGUSR2)
        self.stop_again(rsp)
        self.assertIsNone(rsp.read(pattern.GPA_EXTRA, 8))
        self.assertNotIn('%x' % pattern.GPA_EXTRA, rsp.monitor('info mtree')[0])
        rsp.detach()
        vmm.counts_on()

    def test_dump_has_the_slots_of_now(self):
        vmm = self.vmm('--change-slots')
        for there in (False, True, False):
            self.dump(vmm, self.path('core'))
            with elfcore.Core(self.path('core')) as core:
                self.assertEqual(any(start == pattern.GPA_EXTRA for start, _ in core.ranges()), there)
            vmm.line_after_signal(signal.SIGUSR2)
