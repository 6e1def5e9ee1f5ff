# SPDX-License-Identifier: GPL-3.0-or-later
"""Breakpoints, watchpoints and steps in guests whose VMM was told nothing: it never notices."""

import ctypes
import re
import signal
import time

import harness
import pattern

HITS = harness.times(10000)
STEPS = harness.times(1000)
INTERRUPTS = harness.times(200)
PROBES = harness.times(100, least=20)
SYS_TGKILL = 234
EXIT_DEBUG, EXIT_INTERNAL_ERROR = '4', '17'
# The two instructions of the 64-bit counting guest: incq, and a jump back to it.
INC = pattern.GVA_CODE
JUMP = pattern.GVA_CODE + 8
COUNTER = pattern.GVA_CODE + pattern.COUNTER_OFFSET


class RunCase(harness.Case):
    def start(self, *options):
        """A test VMM and a session; at the end the VMM has seen nothing and its memory is what it was."""
        vmm = self.vmm(*options)
        self.addCleanup(self.check_unseen, vmm, harness.Untouched(vmm))
        rsp = self.rsp(vmm)
        rsp.ask('QStartNoAckMode')
        return vmm, rsp

    def check_unseen(self, vmm, memory):
        vmm.check_alive()
        harness.wait_for(lambda: not harness.traced(vmm), 10, 'it is let go')
        memory.check()
        for exits in vmm.command('exits'):
            self.assertEqual(exits.get(EXIT_DEBUG, 0), 0, 'KVM_EXIT_DEBUG seen by the VMM')
            self.assertEqual(exits.get(EXIT_INTERNAL_ERROR, 0), 0, 'KVM_EXIT_INTERNAL_ERROR seen by the VMM')

    def works(self, rsp, what):
        """What the self-test says of this host's KVM."""
        text, _ = rsp.monitor('info status')
        match = re.search(r"this host's KVM does:.*?%s (yes|no)" % what, text)
        self.assertTrue(match, text)
        return match.group(1) == 'yes'

    def pc(self, rsp, thread):
        self.assertEqual(rsp.thread(thread), 'OK')
        return int.from_bytes(bytes.fromhex(rsp.ask('p10')), 'little')

    def stop_of(self, reply):
        """(thread, pc) of a stop by a trap."""
        match = re.match(r'T05thread:([0-9a-f]+);.*?\b10:([0-9a-f]{16});', reply)
        self.assertTrue(match, reply)
        return int(match.group(1), 16), int.from_bytes(bytes.fromhex(match.group(2)), 'little')

    def cont(self, rsp, thread=None, pc=None):
        got = self.stop_of(rsp.ask('vCont;c', 60))
        if thread:
            self.assertEqual(got[0], thread)
        if pc:
            self.assertEqual(hex(got[1]), hex(pc))
        return got

    def set(self, rsp, kind, address, size=1):
        self.assertEqual(rsp.ask('Z%d,%x,%x' % (kind, address, size)), 'OK')

    def clear(self, rsp, kind, address, size=1):
        self.assertEqual(rsp.ask('z%d,%x,%x' % (kind, address, size)), 'OK')

    def interrupt(self, rsp):
        rsp.interrupt()
        reply = rsp.receive().decode('latin-1')
        self.assertRegex(reply, '^T02')
        return reply

    def run_for_a_while(self, rsp):
        """And interrupt it; hits that had come before are told first."""
        for n in range(3):
            rsp.send('vCont;c')
            time.sleep(0.1)
            rsp.interrupt()
            if rsp.receive().startswith(b'T02'):
                return
        self.fail('it does not run')

    def counts_between_hits(self, vmm, rsp, hits):
        """Each vCPU's counter moves by one from hit to hit; how many each had."""
        last, seen = {}, {1: 0, 2: 0}
        for n in range(hits):
            thread, pc = self.cont(rsp, pc=INC)
            now = vmm.peek_counters()[thread - 1]
            if thread in last:
                self.assertEqual(now, last[thread] + 1, 'hit %d, of thread %d' % (n, thread))
            last[thread] = now
            seen[thread] += 1
        return seen


class TestBreakpoints(RunCase):
    def test_both_vcpus_at_once(self):
        """Every pass through the loop of either vCPU is a hit, and nothing else is."""
        vmm, rsp = self.start()
        self.set(rsp, 1, INC)
        seen = self.counts_between_hits(vmm, rsp, HITS)
        self.assertGreater(min(seen.values()), HITS // 10)
        self.clear(rsp, 1, INC)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_software(self):
        """Whatever this host's KVM makes of the instruction."""
        vmm, rsp = self.start()
        before = rsp.read(INC, 16)
        self.set(rsp, 0, INC)
        self.counts_between_hits(vmm, rsp, PROBES)
        self.assertEqual(rsp.read(INC, 16), before)
        self.clear(rsp, 0, INC)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_two_of_them(self):
        vmm, rsp = self.start('--cpus', '1')
        self.set(rsp, 1, INC)
        self.set(rsp, 1, JUMP)
        self.cont(rsp)
        for n in range(PROBES):
            before = self.pc(rsp, 1)
            self.cont(rsp, 1, INC if before == JUMP else JUMP)

    def test_removed_and_moved(self):
        vmm, rsp = self.start('--cpus', '1')
        for n in range(PROBES):
            at = (INC, JUMP)[n % 2]
            self.set(rsp, 1, at)
            self.cont(rsp, 1, at)
            self.clear(rsp, 1, at)

    def test_a_hit_of_the_other_vcpu_is_kept(self):
        """As gdb steps over a breakpoint: it takes all out, steps one vCPU alone, and puts them back."""
        vmm, rsp = self.start()
        last, hits = {}, {1: 0, 2: 0}
        for n in range(PROBES):
            self.set(rsp, 1, INC)
            thread, _ = self.cont(rsp, pc=INC)
            now = vmm.peek_counters()[thread - 1]
            self.assertEqual(now, last.get(thread, now - 1) + 1, 'hit %d' % n)
            last[thread] = now
            hits[thread] += 1
            self.clear(rsp, 1, INC)
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:%x' % thread)), (thread, JUMP))
        self.assertGreater(min(hits.values()), 0)

    def test_removed_while_a_hit_of_it_waits(self):
        """The other vCPU had hit it too, of which nobody wants to know any more."""
        for kind in (0, 1):
            vmm, rsp = self.start()
            for n in range(10):
                self.set(rsp, kind, INC)
                self.cont(rsp, pc=INC)
                self.clear(rsp, kind, INC)
                before = vmm.peek_counters()
                rsp.send('vCont;c')
                harness.wait_for(lambda: all(b > a for a, b in zip(before, vmm.peek_counters())), 10, 'the guest runs')
                self.interrupt(rsp)
            self.assertEqual(rsp.detach(), 'OK')

    def test_pc_written_onto_one(self):
        vmm, rsp = self.start('--cpus', '1')
        self.set(rsp, 1, INC)
        self.cont(rsp, 1, INC)
        self.assertEqual(rsp.ask('P10=%s' % JUMP.to_bytes(8, 'little').hex()), 'OK')
        before = vmm.peek_counters()
        self.cont(rsp, 1, INC)
        self.assertEqual(vmm.peek_counters(), before)

    def test_no_room(self):
        """The processor has four debug registers."""
        vmm, rsp = self.start()
        for n in range(4):
            self.set(rsp, 1, 0xffffffff81000000 + 16 * n)
        self.assertRegex(rsp.ask('Z1,%x,1' % INC), r'^E\.no debug register is free')
        self.clear(rsp, 1, 0xffffffff81000000)
        self.set(rsp, 1, INC)
        self.cont(rsp, pc=INC)

    def test_unmapped(self):
        """A place that is not there yet takes a hardware breakpoint alone."""
        vmm, rsp = self.start()
        nowhere = pattern.GVA_CODE + 0x3000
        self.assertRegex(rsp.ask('Z0,%x,1' % nowhere), r'^E\..*hbreak')
        self.set(rsp, 1, nowhere)
        rsp.send('vCont;c')
        time.sleep(0.05)
        self.interrupt(rsp)

    def test_never_hit(self):
        vmm, rsp = self.start()
        self.set(rsp, 1, pattern.GVA_CODE + 0x800)
        before = vmm.peek_counters()
        rsp.send('vCont;c')
        harness.wait_for(lambda: all(b > a + 1000 for a, b in zip(before, vmm.peek_counters())), 10, 'the guest runs')
        self.interrupt(rsp)
        held = vmm.peek_counters()
        time.sleep(0.05)
        self.assertEqual(vmm.peek_counters(), held)

    def test_detach_with_all_armed(self):
        vmm, rsp = self.start()
        look = harness.Look(vmm.pid)
        self.set(rsp, 0, INC)
        self.set(rsp, 1, JUMP)
        for n in range(10):
            self.cont(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()
        self.assertFalse(harness.traced(vmm))
        rsp = self.rsp(vmm)
        rsp.send('vCont;c')
        time.sleep(0.1)
        self.interrupt(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        look.maps = harness.maps(vmm.pid)
        look.check_same(self)

    def test_hang_up_while_it_runs(self):
        vmm, rsp = self.start()
        self.set(rsp, 1, pattern.GVA_CODE + 0x800)
        rsp.send('vCont;c')
        time.sleep(0.05)
        rsp.hang_up()
        vmm.counts_on()
        self.assertFalse(harness.traced(vmm))

    def test_no_cost_without_any(self):
        vmm, rsp = self.start()
        self.set(rsp, 1, INC)
        self.cont(rsp, pc=INC)
        self.clear(rsp, 1, INC)
        rsp.send('vCont;c')
        vmm.counts_on()
        self.assertFalse(harness.traced(vmm))
        self.interrupt(rsp)

    def test_second_vm(self):
        vmm = self.vmm('--vms', '2')
        rsp = self.rsp(vmm, '--vm', '1')
        self.set(rsp, 1, INC)
        for n in range(PROBES):
            self.cont(rsp, pc=INC)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on(vm=0)
        vmm.counts_on(vm=1)

    def test_jailed(self):
        vmm, rsp = self.start('--seccomp')
        self.set(rsp, 1, INC)
        self.counts_between_hits(vmm, rsp, PROBES)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_with_sleepers(self):
        """Threads in blocking calls never notice either."""
        vmm, rsp = self.start('--threads', '13')
        self.set(rsp, 1, INC)
        self.counts_between_hits(vmm, rsp, PROBES)
        for n in range(PROBES):
            rsp.ask('vCont;s:1')
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_slots_change(self):
        vmm, rsp = self.start('--change-slots', '--cpus', '1')
        self.set(rsp, 1, pattern.GVA_CODE + 0x800)
        for n in range(10):
            rsp.send('vCont;c')
            slots = vmm.line_after_signal(signal.SIGUSR2)[0]['slots']
            self.interrupt(rsp)
            rsp.physical()
            self.assertEqual(rsp.read(pattern.GPA_EXTRA, 8) is not None,
                             pattern.GPA_EXTRA in [slot['gpa'] for slot in slots], 'round %d' % n)
            rsp.physical(False)

    def test_between_exits(self):
        """The VMM answers the guest's inputs while breakpoints are hit: none is lost, none is doubled."""
        for work in ('--pio', '--mmio'):
            with self.subTest(work=work):
                vmm, rsp = self.start(work)
                self.set(rsp, 1, INC)
                last = {}
                for n in range(PROBES):
                    thread, _ = self.cont(rsp, pc=INC)
                    now = vmm.peek_counters()[thread - 1]
                    self.assertEqual(now, last.get(thread, now - 1) + 1)
                    last[thread] = now
                self.assertEqual(rsp.detach(), 'OK')
                vmm.counts_on()


class TestAcrossPages(RunCase):
    """An instruction that begins in one page and ends in the next, and one that is behind it."""

    FIRST, SECOND = pattern.GVA_CODE + 0xffc, pattern.GVA_CODE + 0x1004
    COUNTED = pattern.GVA_CODE + 0x1800
    LOOP = bytes.fromhex('48ff0425') + COUNTED.to_bytes(4, 'little') + bytes.fromhex('ebf6')  # incq COUNTED; jmp back

    def start(self):
        """A session with a vCPU in this loop."""
        vmm, rsp = super().start('--cpus', '1')
        for at, data in ((self.FIRST, self.LOOP), (self.COUNTED, bytes(8))):
            self.addCleanup(self.write_memory, vmm, at, vmm.peek(self.hva(vmm, at), len(data)))
            self.assertEqual(rsp.write(at, data), 'OK')
        self.jump(rsp, self.FIRST)
        return vmm, rsp

    def hva(self, vmm, gva):
        return vmm.vms[0]['vcpus'][0]['counter_hva'] + gva - COUNTER

    def write_memory(self, vmm, gva, data):
        with open('/proc/%d/mem' % vmm.pid, 'r+b') as mem:
            mem.seek(self.hva(vmm, gva))
            mem.write(data)

    def jump(self, rsp, pc):
        self.assertEqual(rsp.ask('P10=%s' % pc.to_bytes(8, 'little').hex()), 'OK')

    def count(self, vmm):
        return int.from_bytes(vmm.peek(self.hva(vmm, self.COUNTED), 8), 'little')

    def leave(self, vmm, rsp):
        """Where it was before."""
        self.assertEqual(rsp.read(self.FIRST, len(self.LOOP)), self.LOOP)
        self.jump(rsp, INC)
        self.assertEqual(rsp.detach(), 'OK')

    def test_breakpoints(self):
        for kind in (0, 1):
            with self.subTest(kind=kind):
                vmm, rsp = self.start()
                self.set(rsp, kind, self.FIRST)
                self.set(rsp, kind, self.SECOND)
                self.cont(rsp, 1, self.FIRST)
                for n in range(PROBES):
                    self.assertEqual(self.count(vmm), n)
                    self.cont(rsp, 1, self.SECOND)
                    self.cont(rsp, 1, self.FIRST)
                self.assertEqual(rsp.read(self.FIRST, len(self.LOOP)), self.LOOP)
                self.clear(rsp, kind, self.FIRST)
                self.clear(rsp, kind, self.SECOND)
                self.leave(vmm, rsp)

    def test_steps(self):
        vmm, rsp = self.start()
        for n in range(PROBES):
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:1')), (1, self.SECOND))
            self.assertEqual(self.count(vmm), n + 1)
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:1')), (1, self.FIRST))
        self.leave(vmm, rsp)


class TestWatchpoints(RunCase):
    def watch(self, kind, what):
        vmm, rsp = self.start('--cpus', '1')
        if not self.works(rsp, what):
            reply = rsp.ask('Z%d,%x,8' % (kind, COUNTER))
            self.assertRegex(reply, r"^E\.this host's KVM does no %s: it failed when tried" % what)
            return
        self.set(rsp, kind, COUNTER, 8)
        for n in range(PROBES):
            before = vmm.peek_counters()[0]
            self.cont(rsp, 1, JUMP)
            self.assertEqual(vmm.peek_counters()[0], before + 1)
        self.clear(rsp, kind, COUNTER, 8)

    def test_write(self):
        self.watch(2, 'write watchpoints')

    def test_access(self):
        self.watch(4, 'access watchpoints')

    def test_read(self):
        """x86 has none."""
        vmm, rsp = self.start()
        self.assertRegex(rsp.ask('Z3,%x,8' % COUNTER), r'^E\..*(x86|this host)')


class TestSteps(RunCase):
    def test_steps(self):
        """Each is one instruction of one vCPU; the other stands still."""
        vmm, rsp = self.start()
        at, count = self.pc(rsp, 1), vmm.peek_counters()
        for n in range(STEPS):
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:1')), (1, JUMP if at == INC else INC), 'step %d' % n)
            count[0] += at == INC
            at = JUMP if at == INC else INC
            self.assertEqual(vmm.peek_counters(), count)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_the_others_continue(self):
        vmm, rsp = self.start()
        before = vmm.peek_counters()
        for n in range(PROBES):
            self.stop_of(rsp.ask('vCont;s:1;c'))
        self.assertGreater(vmm.peek_counters()[1], before[1])

    def test_onto_a_breakpoint_and_on(self):
        vmm, rsp = self.start('--cpus', '1')
        self.set(rsp, 1, INC)
        self.cont(rsp, 1, INC)
        for n in range(PROBES):
            count = vmm.peek_counters()[0]
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:1'))[1], JUMP)
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:1'))[1], INC)
            self.assertEqual(vmm.peek_counters()[0], count + 1)

    def test_range(self):
        vmm, rsp = self.start('--cpus', '1')
        self.set(rsp, 1, INC)
        self.cont(rsp, 1, INC)
        self.clear(rsp, 1, INC)
        for n in range(PROBES):
            self.assertEqual(self.stop_of(rsp.ask('vCont;r%x,%x:1' % (INC, JUMP)))[1], JUMP)
            self.assertEqual(self.stop_of(rsp.ask('vCont;r%x,%x:1' % (JUMP, JUMP + 2)))[1], INC)

    def test_halted(self):
        """A step that has nothing to come back for does not hold the session."""
        vmm, rsp = self.start('--halt', '--cpus', '1')
        for n in range(5):
            rsp.send('vCont;s:1')
            time.sleep(0.1)
            self.interrupt(rsp)
        self.assertEqual(rsp.detach(), 'OK')

    def test_over_input(self):
        """The step needs the VMM's own threads in the middle."""
        for work in ('--pio', '--mmio'):
            with self.subTest(work=work):
                vmm, rsp = self.start(work, '--cpus', '1')
                count = vmm.peek_counters()[0]
                for n in range(4 * PROBES):
                    self.stop_of(rsp.ask('vCont;s:1'))
                self.assertIn(vmm.peek_counters()[0] - count, (PROBES - 1, PROBES, PROBES + 1))

    def test_paused_by_its_vmm(self):
        """Nothing moves until the VMM lets it; then it does what it was told."""
        vmm, rsp = self.start('--cpus', '1')
        rsp.send('vCont;c')
        vmm.command('pause')
        self.interrupt(rsp)
        self.set(rsp, 1, INC)
        rsp.send('vCont;c')
        time.sleep(0.1)
        self.interrupt(rsp)
        rsp.send('vCont;c')
        vmm.tell('run')
        self.assertEqual(self.stop_of(rsp.receive().decode('latin-1')), (1, INC))
        self.assertEqual(rsp.detach(), 'OK')
        vmm.answer()
        vmm.counts_on()


class TestVmmsDoings(RunCase):
    """What a VMM does by itself while something is armed."""

    def test_stopped_by_a_signal(self):
        """It stays stopped, whatever the session does, and goes on where it was."""
        vmm, rsp = self.start()
        self.set(rsp, 1, INC)
        self.cont(rsp, pc=INC)
        vmm.proc.send_signal(signal.SIGSTOP)
        self.run_for_a_while(rsp)
        count = vmm.peek_counters()
        rsp.send('vCont;c')
        time.sleep(0.1)
        self.assertEqual(vmm.peek_counters(), count)
        vmm.proc.send_signal(signal.SIGCONT)
        self.assertEqual(self.stop_of(rsp.receive().decode('latin-1'))[1], INC)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_let_go_while_stopped_by_a_signal(self):
        """By a detach, and by sudden death."""
        for kill in (False, True):
            vmm, rsp = self.start()
            self.set(rsp, 1, INC)
            self.cont(rsp, pc=INC)
            vmm.proc.send_signal(signal.SIGSTOP)
            self.run_for_a_while(rsp)
            if kill:
                rsp.send('vCont;c')
                rsp.proc.kill()
            else:
                self.assertEqual(rsp.detach(), 'OK')
            harness.wait_for(lambda: not harness.traced(vmm), 10, 'it is let go')
            count = vmm.peek_counters()
            time.sleep(0.1)
            self.assertEqual(vmm.peek_counters(), count)
            vmm.proc.send_signal(signal.SIGCONT)
            vmm.counts_on()

    def test_a_new_vcpu(self):
        qemu = self.qemu('-smp', '1,maxcpus=2')
        free = next(c for c in qemu.qmp('query-hotpluggable-cpus') if 'qom-path' not in c)
        rsp = self.rsp(qemu)
        self.set(rsp, 1, 0x123450)
        rsp.send('vCont;c')
        qemu.qmp('device_add', driver=free['type'], id='new', **free['props'])
        self.interrupt(rsp)
        self.assertEqual(rsp.ask('qfThreadInfo'), 'm1,2')
        self.assertEqual(self.stop_of(rsp.ask('vCont;s:1'))[0], 1)
        self.assertEqual(rsp.detach(), 'OK')
        qemu.counts_on(60)
        self.assertTrue(qemu.running())

    def test_kicks(self):
        """It interrupts its vCPUs all the time: each of its signals arrives."""
        vmm, rsp = self.start('--tolerate-eintr')
        self.set(rsp, 1, INC)
        seen = {}
        for n in range(PROBES):
            for tid in [v['tid'] for v in vmm.vms[0]['vcpus']]:
                signal_thread(vmm.pid, tid, signal.SIGRTMIN)
            thread, _ = self.cont(rsp, pc=INC)
            now = vmm.peek_counters()[thread - 1]
            self.assertEqual(now, seen.get(thread, now - 1) + 1, 'hit %d' % n)
            seen[thread] = now
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()
        self.assertGreater(sum(exits['eintr'] for exits in vmm.command('exits')), PROBES)


class TestInterrupts(RunCase):
    def rounds(self, vmm, rsp):
        for n in range(INTERRUPTS):
            before = vmm.peek_counters()
            rsp.send('vCont;c')
            if n % 3:
                harness.wait_for(lambda: vmm.peek_counters() != before, 10, 'the guest runs')
            self.interrupt(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_nothing_armed(self):
        self.rounds(*self.start())

    def test_armed(self):
        vmm, rsp = self.start()
        self.set(rsp, 1, pattern.GVA_CODE + 0x800)
        self.rounds(vmm, rsp)

    def test_against_hits(self):
        """Whichever comes first is told first; the other is not lost."""
        vmm, rsp = self.start()
        self.set(rsp, 1, INC)
        last = {}
        for n in range(INTERRUPTS):
            rsp.send('vCont;c')
            if n % 2:
                rsp.interrupt()
            reply = rsp.receive().decode('latin-1')
            if reply.startswith('T02'):
                continue
            thread, _ = self.stop_of(reply)
            now = vmm.peek_counters()[thread - 1]
            self.assertEqual(now, last.get(thread, now - 1) + 1, 'round %d' % n)
            last[thread] = now
        self.assertGreater(len(last), 0)


class TestModes(RunCase):
    def mode(self, mode, base, first):
        """Addresses are linear. first: bytes of the guest's first instruction."""
        vmm, rsp = self.start('--mode', mode, '--cpus', '1')
        self.set(rsp, 1, base + first)
        self.cont(rsp, 1)
        for n in range(PROBES):
            before = vmm.peek_counters()[0]
            self.cont(rsp, 1)
            self.assertEqual(vmm.peek_counters()[0], before + 1)
        self.assertEqual(rsp.detach(), 'OK')
        vmm.counts_on()

    def test_16(self):
        self.mode('16', pattern.GPA_CODE, 6)

    def test_flat(self):
        self.mode('flat', pattern.GPA_CODE, 7)

    def test_32(self):
        self.mode('32', pattern.GVA_CODE, 7)

    def test_pae(self):
        self.mode('pae', pattern.GVA_CODE, 7)


class TestGdb(RunCase):
    def test_conditional(self):
        vmm = self.vmm('--cpus', '1')
        out = self.gdb(vmm, 'hbreak *%#x if (*(unsigned long *)%#x %% 7) == 3' % (INC, COUNTER), 'continue',
                       'printf "count %%lu\\n", *(unsigned long *)%#x' % COUNTER, 'continue',
                       'printf "count %%lu\\n", *(unsigned long *)%#x' % COUNTER, 'detach')
        counts = [int(n) for n in re.findall(r'^count (\d+)$', out, re.M)]
        self.assertEqual(len(counts), 2, out)
        self.assertEqual([n % 7 for n in counts], [3, 3], out)
        self.assertEqual(counts[1], counts[0] + 7, out)
        vmm.counts_on()

    def test_many_hits(self):
        """gdb steps over each itself."""
        vmm = self.vmm()
        out = self.gdb(vmm, 'hbreak *%#x' % INC, 'python', 'for n in range(50): gdb.execute("continue")', 'end',
                       'info breakpoints', 'thread apply all bt', 'detach')
        self.assertIn('breakpoint already hit 50 times', out)
        self.assertEqual(len(re.findall(r'^#0 ', out, re.M)), 2, out)
        vmm.counts_on()
        for exits in vmm.command('exits'):
            self.assertNotIn(EXIT_DEBUG, exits)

    def test_stepi(self):
        vmm = self.vmm('--cpus', '1')
        out = self.gdb(vmm, 'break *%#x' % INC, 'continue', 'stepi', 'stepi', 'stepi', 'stepi', 'p/x $pc', 'detach')
        self.assertIn('= %#x' % INC, out)
        vmm.counts_on()


class TestQemu(RunCase):
    """QEMU's firmware waits in a loop that its timer's interrupt ends 18 times a second."""

    def counting(self):
        """Its first vCPU has a loop instead, and the other none to run; and a session."""
        qemu = self.qemu('-smp', '2')
        qemu.wait_for_nothing_to_do()
        rsp = self.rsp(qemu)
        rsp.ask('QStartNoAckMode')
        rsp.physical()
        self.assertEqual(rsp.write(pattern.REAL_INC, pattern.REAL_CODE), 'OK')
        self.assertEqual(rsp.write(pattern.REAL_COUNTER, bytes(4)), 'OK')
        rsp.physical(False)
        values = {'cs': 0, 'cs_base': 0, 'ds': 0x1000, 'ds_base': 0x10000, 'rip': pattern.REAL_INC}
        xml = rsp.ask('qXfer:features:read:target.xml:0,3fff0')[1:]
        for name, value in values.items():
            bits, number = re.search(r'<reg name="%s" bitsize="(\d+)".*? regnum="(\d+)"' % name, xml).groups()
            value = value.to_bytes(int(bits) // 8, 'little')
            self.assertEqual(rsp.ask('P%x=%s' % (int(number), value.hex())), 'OK', name)
        # The next interrupt wakes it.
        self.set(rsp, 1, pattern.REAL_INC)
        self.cont(rsp, 1, pattern.REAL_INC)
        self.clear(rsp, 1, pattern.REAL_INC)
        return qemu, rsp

    def count(self, rsp):
        return int.from_bytes(qemu_bytes(rsp, pattern.REAL_COUNTER, 4), 'little')

    def check_goes_on(self, qemu, rsp):
        self.assertEqual(rsp.detach(), 'OK')
        before = qemu.pmemsave(pattern.REAL_COUNTER, 4)
        harness.wait_for(lambda: qemu.pmemsave(pattern.REAL_COUNTER, 4) != before, 10, 'it counts on')
        self.assertEqual(qemu.pmemsave(pattern.REAL_INC, len(pattern.REAL_CODE)), pattern.REAL_CODE)
        self.assertTrue(qemu.running())

    def test_steps(self):
        qemu, rsp = self.counting()
        count = self.count(rsp)
        for n in range(STEPS):
            at = (pattern.REAL_JUMP, pattern.REAL_INC)[n % 2]
            self.assertEqual(self.stop_of(rsp.ask('vCont;s:1')), (1, at), 'step %d' % n)
        self.assertEqual(self.count(rsp), count + (STEPS + 1) // 2)
        self.check_goes_on(qemu, rsp)

    def test_breakpoints(self):
        qemu, rsp = self.counting()
        for kind in (0, 1):
            self.set(rsp, kind, pattern.REAL_INC)
            self.cont(rsp, 1, pattern.REAL_INC)
            for n in range(PROBES // 4):
                before = self.count(rsp)
                self.cont(rsp, 1, pattern.REAL_INC)
                self.assertEqual(self.count(rsp), before + 1)
            self.clear(rsp, kind, pattern.REAL_INC)
        self.check_goes_on(qemu, rsp)

    def test_watchpoints(self):
        """Those that the self-test found to work; none for reads alone on x86."""
        qemu, rsp = self.counting()
        for kind, what in ((2, 'write watchpoints'), (4, 'access watchpoints')):
            if not self.works(rsp, what):
                self.assertRegex(rsp.ask('Z%d,%x,4' % (kind, pattern.REAL_COUNTER)), '^E.*does no ' + what)
                continue
            self.set(rsp, kind, pattern.REAL_COUNTER, 4)
            for n in range(PROBES // 4):
                before = self.count(rsp)
                self.cont(rsp, 1, pattern.REAL_JUMP)
                self.assertEqual(self.count(rsp), before + 1)
            self.clear(rsp, kind, pattern.REAL_COUNTER, 4)
        self.assertRegex(rsp.ask('Z3,%x,4' % pattern.REAL_COUNTER), '^E')
        self.check_goes_on(qemu, rsp)

    def test_timer_handler(self):
        """The BIOS's own handler of the timer interrupt, where its vector points."""
        qemu = self.qemu()
        rsp = self.rsp(qemu)
        rsp.ask('QStartNoAckMode')
        rsp.physical()
        offset, segment = (int.from_bytes(rsp.read(0x20 + n, 2), 'little') for n in (0, 2))
        rsp.physical(False)
        handler = segment * 16 + offset
        self.set(rsp, 1, handler)
        ticks = int.from_bytes(qemu_bytes(rsp, 0x46c, 4), 'little')
        for n in range(10):
            self.cont(rsp, 1)
        self.assertIn(int.from_bytes(qemu_bytes(rsp, 0x46c, 4), 'little') - ticks, (9, 10))
        self.clear(rsp, 1, handler)
        self.assertEqual(rsp.detach(), 'OK')
        qemu.counts_on(60)
        self.assertTrue(qemu.running())

    def test_reset(self):
        """What is armed stays so, and QEMU resets its guest undisturbed."""
        qemu = self.qemu()
        rsp = self.rsp(qemu)
        self.set(rsp, 1, 0xfffffff0)
        rsp.send('vCont;c')
        qemu.qmp('system_reset')
        self.assertEqual(self.stop_of(rsp.receive().decode('latin-1'))[0], 1)
        self.clear(rsp, 1, 0xfffffff0)
        self.assertEqual(rsp.detach(), 'OK')
        qemu.wait_for_firmware()
        self.assertTrue(qemu.running())

    def test_paused_and_reset_while_armed(self):
        """By QMP: what is armed stays so, and a run that the pause holds up goes on with it."""
        qemu = self.qemu('-smp', '2')
        rsp = self.rsp(qemu)
        rsp.ask('QStartNoAckMode')
        for n in range(3):
            self.set(rsp, 1, 0x123450)
            rsp.send('vCont;c')
            if n:
                qemu.answer('cont')
            qemu.qmp('stop')
            self.interrupt(rsp)
            self.set(rsp, 1, 0xfffffff0)
            rsp.send('vCont;c')
            qemu.qmp('system_reset')
            # The stop may come before QEMU has said that it goes on.
            qemu.socket.sendall(b'{"execute": "cont"}\n')
            self.assertEqual(self.stop_of(rsp.receive().decode('latin-1'))[0], 1)
            self.clear(rsp, 1, 0xfffffff0)
        self.assertEqual(rsp.detach(), 'OK')
        qemu.answer('cont')
        qemu.wait_for_firmware()

    def test_its_own_stub_is_in_use(self):
        qemu = self.qemu('-gdb', 'unix:%s,server=on,wait=off' % self.path('stub'))
        other = self.connect_unix(self.path('stub'))
        other.send('?')
        other.send('Z1,fffffff0,1')
        while other.receive() != b'OK':
            pass
        other.send('c')
        rsp = self.rsp(qemu)
        self.assertRegex(rsp.ask('Z1,fffffff0,1'), r'^E\..*debugs its guest itself')
        self.assertRegex(rsp.ask('vCont;s:1'), r'^E\..*debugs its guest itself')
        self.assertEqual(rsp.detach(), 'OK')
        qemu.counts_on(60)


def qemu_bytes(rsp, gpa, size):
    rsp.physical()
    got = rsp.read(gpa, size)
    rsp.physical(False)
    return got


def signal_thread(pid, tid, number):
    ctypes.CDLL(None).syscall(SYS_TGKILL, pid, tid, int(number))
