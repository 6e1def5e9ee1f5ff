# SPDX-License-Identifier: GPL-3.0-or-later
"""Breakpoints, watchpoints and steps through --qmp, in a guest that counts in a loop of two instructions."""

import re
import signal
import socket
import threading
import time

import harness
import pattern
import test_qmp

HITS = harness.times(100)
STEPS = harness.times(1000)
INTERRUPTS = harness.times(200)
KILLS = harness.times(10)

CODE, INC, JUMP, COUNTER = pattern.REAL_CODE, pattern.REAL_INC, pattern.REAL_JUMP, pattern.REAL_COUNTER
RIP, EFLAGS, CS, DS = 16, 17, 18, 20  # of our target.xml
TCG = ('-accel', 'tcg')
RESET = 0xfffffff0  # where a vCPU begins


class Relay:
    """Between a client and a QMP socket, to do something just before a command arrives."""

    def __init__(self, target, path):
        self.path, self.word = path, None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.target = socket.socket(socket.AF_UNIX)
        self.target.connect(target)
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    def before(self, word, action):
        """Once, in another thread. What is returned is set then."""
        done = threading.Event()
        self.action, self.done, self.word = action, done, word
        return done

    def _carry(self):
        client = self.listener.accept()[0]
        back = threading.Thread(target=self._carry_back, args=(client,), daemon=True)
        back.start()
        while data := client.recv(65536):
            if self.word and self.word in data:
                self.word = None
                self.action()
                self.done.set()
            self.target.sendall(data)
        self.target.shutdown(socket.SHUT_RDWR)
        back.join()
        client.close()

    def _carry_back(self, client):
        try:
            while data := self.target.recv(65536):
                client.sendall(data)
        except OSError:
            pass

    def close(self):
        self.thread.join(harness.patience(10))
        self.target.close()
        self.listener.close()


class RunCase(test_qmp.QmpCase):
    def counting(self, *options, accel=TCG):
        """The machine, with its one vCPU in the loop and running, but for a session at its beginning."""
        machine = self.firmware('-M', 'pc', *accel, *options)
        machine.wait_for_nothing_to_do()
        rsp = self.session(machine)
        self.prepare(machine, rsp)
        return machine, rsp

    def prepare(self, machine, rsp):
        # A tick takes it to protected mode for a moment.
        while not machine.has_nothing_to_do():
            rsp.send('vCont;c')
            harness.wait_for(machine.running, 10, 'continue')
            self.interrupt(rsp)
        rsp.physical()
        self.assertEqual(rsp.write(INC, CODE), 'OK')
        self.assertEqual(rsp.write(COUNTER, bytes(4)), 'OK')
        rsp.physical(False)
        for number, size, value in ((CS, 4, 0), (DS, 4, 0x1000), (RIP, 8, INC)):
            self.assertEqual(rsp.ask('P%x=%s' % (number, value.to_bytes(size, 'little').hex())), 'OK')

    def code(self, rsp, text):
        """In place of the loop."""
        rsp.physical()
        self.assertEqual(rsp.write(INC, bytes.fromhex(text)), 'OK')
        rsp.physical(False)

    def session(self, machine):
        rsp = self.rsp(machine.target())
        rsp.ask('QStartNoAckMode')
        return rsp

    def count(self, machine):
        return int(machine.hmp('xp /1wx %#x' % COUNTER).split(':')[1], 16)

    def counts_on(self, machine):
        before = self.count(machine)
        harness.wait_for(lambda: self.count(machine) != before, 10, 'it counts on')

    def stopped(self, reply, pc=None):
        match = re.match(r'T05thread:1;.*?\b10:([0-9a-f]{16});', reply)
        self.assertTrue(match, reply)
        found = int.from_bytes(bytes.fromhex(match.group(1)), 'little')
        if pc:
            self.assertEqual(hex(found), hex(pc))
        return found

    def set(self, rsp, kind, address, size=1):
        self.assertEqual(rsp.ask('Z%d,%x,%x' % (kind, address, size)), 'OK')

    def clear(self, rsp, kind, address, size=1):
        self.assertEqual(rsp.ask('z%d,%x,%x' % (kind, address, size)), 'OK')

    def interrupt(self, rsp):
        rsp.interrupt()
        self.assertRegex(rsp.receive().decode(), '^T02')

    def hits(self, machine, rsp, n):
        """One pass through the loop for each."""
        self.stopped(rsp.ask('vCont;c'), INC)
        for _ in range(n):
            before = self.count(machine)
            self.stopped(rsp.ask('vCont;c'), INC)
            self.assertEqual(self.count(machine), before + 1)

    def check_clean(self, machine, stub=None):
        """Nothing of ours is left: it counts, and never stops."""
        harness.wait_for(lambda: not harness.tagged(self.tag), 10, 'our processes end')
        self.assertEqual(machine.status(), 'running')
        self.counts_on(machine)
        time.sleep(0.1)
        self.assertEqual(machine.status(), 'running')
        self.assertEqual(machine.stub(), stub)


class TestBreakpoints(RunCase):
    def test_hits(self):
        for kind in (0, 1):
            with self.subTest(kind=kind):
                machine, rsp = self.counting()
                self.set(rsp, kind, INC)
                self.hits(machine, rsp, HITS)
                self.clear(rsp, kind, INC)
                self.assertEqual(rsp.detach(), 'OK')
                self.check_clean(machine)

    def test_kvm(self):
        """Whatever this host's KVM makes of a breakpoint instruction."""
        harness.require_kvm()
        for kind in (0, 1):
            with self.subTest(kind=kind):
                machine, rsp = self.counting(accel=['-enable-kvm'])
                self.set(rsp, kind, INC)
                self.hits(machine, rsp, HITS)
                self.assertEqual(rsp.detach(), 'OK')
                self.check_clean(machine)

    def test_two_of_them(self):
        machine, rsp = self.counting()
        self.set(rsp, 1, INC)
        self.set(rsp, 0, JUMP)
        for n in range(HITS):
            self.stopped(rsp.ask('vCont;c'), INC if n % 2 else JUMP)

    def test_both_kinds_at_one_place(self):
        machine, rsp = self.counting()
        self.set(rsp, 1, INC)
        self.set(rsp, 0, INC)
        self.hits(machine, rsp, 5)
        self.clear(rsp, 1, INC)
        self.hits(machine, rsp, 5)

    def test_memory_reads_as_before(self):
        machine, rsp = self.counting()
        self.set(rsp, 0, INC)
        self.hits(machine, rsp, 2)
        self.assertEqual(rsp.read(INC, len(CODE)), CODE)

    def test_registers_of_the_processor_run_out(self):
        harness.require_kvm()
        machine, rsp = self.counting(accel=['-enable-kvm'])
        for n in range(4):
            self.set(rsp, 1, 0x100000 + 16 * n)
        self.assertRegex(rsp.ask('Z1,200000,1'), r'^E\..*no debug register left')
        self.clear(rsp, 1, 0x100000)
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;c'), INC)

    def test_without_a_stub(self):
        """The owner's own client has it."""
        machine = self.tcg('-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'))
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self.path('gdb'))
            harness.wait_for(lambda: machine.status() == 'paused', 10, 'the other client pauses it')
            machine.cont()
            rsp = self.session(machine)
            self.assertRegex(rsp.ask('Z1,1000,1'), r'^E\..*in use by another client')
            self.assertRegex(rsp.ask('vCont;s:1'), r'^E\..*in use by another client')
            self.assertEqual(rsp.detach(), 'OK')


class TestWatchpoints(RunCase):
    def watch(self, kind, reason):
        machine, rsp = self.counting()
        self.set(rsp, kind, COUNTER, 4)
        for _ in range(HITS):
            before = self.count(machine)
            reply = rsp.ask('vCont;c')
            self.stopped(reply, JUMP)
            self.assertIn(';%s:%x;' % (reason, COUNTER), reply)
            self.assertEqual(self.count(machine), before + 1)
        self.clear(rsp, kind, COUNTER, 4)
        rsp.send('vCont;c')
        self.counts_on(machine)
        self.interrupt(rsp)

    def test_write(self):
        self.watch(2, 'watch')

    def test_access(self):
        self.watch(4, 'awatch')

    def test_read(self):
        self.watch(3, 'rwatch')

    def test_kvm(self):
        """QEMU takes those that this host's KVM then never fires."""
        harness.require_kvm()
        machine, rsp = self.counting(accel=['-enable-kvm'])
        reply = rsp.ask('Z2,%x,4' % COUNTER)
        if reply != 'OK':
            self.assertRegex(reply, "^E.this host's KVM does no write watchpoints")
            return
        self.stopped(rsp.ask('vCont;c'), JUMP)


    def test_hit_by_the_step_off_a_breakpoint(self):
        """Told, too, whether it is a step or a continue that passes the breakpoint."""
        machine, rsp = self.counting()
        self.set(rsp, 1, INC)
        self.set(rsp, 2, COUNTER, 4)
        for n in range(HITS):
            self.stopped(rsp.ask('vCont;c'), INC) if n else None
            before = self.count(machine)
            reply = rsp.ask('vCont;s:1' if n % 2 else 'vCont;c')
            self.stopped(reply, JUMP)
            self.assertIn(';watch:%x;' % COUNTER, reply)
            self.assertEqual(self.count(machine), before + 1)


class TestHalted(RunCase):
    """One vCPU waits for an interrupt that never comes, at an address that has a breakpoint."""

    def test_not_hit(self):
        for accel in (TCG, ['-enable-kvm']):
            with self.subTest(accel=accel):
                machine, rsp = self.counting('-smp', '2', accel=accel)
                cs, pc = re.search(r'(?s)CPU#1.*?EIP=(\w+).*?CS =\w+ (\w+)', machine.hmp('info registers -a')).groups()
                self.set(rsp, 1, int(cs, 16) + int(pc, 16))
                self.set(rsp, 1, INC)
                self.hits(machine, rsp, 5)
                self.assertEqual(rsp.detach(), 'OK')
                self.check_clean(machine)


class TestSteps(RunCase):
    def steps(self, machine, rsp, action, n=STEPS):
        """One instruction each, though QEMU's own end before it when its interrupt controller asks for a look at it."""
        at, count = INC, self.count(machine)
        for i in range(n):
            now = self.stopped(rsp.ask(action))
            self.assertEqual(hex(now), hex(JUMP if at == INC else INC), 'step %d' % i)
            count += at == INC
            at = now
            self.assertEqual(self.count(machine), count)

    def test_tcg(self):
        machine, rsp = self.counting()
        self.steps(machine, rsp, 'vCont;s:1')
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def test_kvm(self):
        harness.require_kvm()
        machine, rsp = self.counting(accel=['-enable-kvm'])
        self.steps(machine, rsp, 'vCont;s:1')
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def test_others_continue(self):
        machine, rsp = self.counting('-smp', '2')
        self.steps(machine, rsp, 'vCont;s:1;c', n=STEPS // 5)
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def test_off_a_breakpoint(self):
        machine, rsp = self.counting()
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;c'), INC)
        for _ in range(STEPS // 2):
            self.stopped(rsp.ask('vCont;s:1'), JUMP)
            self.stopped(rsp.ask('vCont;s:1'), INC)

    def test_range(self):
        machine, rsp = self.counting()
        self.stopped(rsp.ask('vCont;r%x,%x:1' % (INC, JUMP)), JUMP)
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;r%x,%x:1' % (INC, JUMP + 2)), INC)

    def test_into_an_interrupt(self):
        """One comes in between bare steps; the owner's stub has its flags back."""
        machine, rsp = self.counting('-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'))
        time.sleep(0.2)
        self.assertEqual(rsp.ask('P%x=02020000' % EFLAGS), 'OK')
        self.assertEqual(rsp.ask('Qqemu.sstep=1'), 'OK')
        harness.wait_for(lambda: self.stopped(rsp.ask('vCont;s:1')) not in (INC, JUMP), 20, 'an interrupt')
        self.assertEqual(rsp.detach(), 'OK')
        harness.wait_for(lambda: machine.stub().startswith('disconnected:'), 10, 'the stub is free')
        stub = self.connect_unix(self.path('gdb'))
        stub.send('qqemu.sstep')
        reply = stub.receive()
        while reply[:1] == b'T':
            reply = stub.receive()
        self.assertEqual(reply, b'0x7')

    def test_halted(self):
        """A step that does not end does not hold the session, and is over with it."""
        machine, rsp = self.counting()
        self.code(rsp, 'faf4')  # cli; hlt
        self.stopped(rsp.ask('vCont;s:1'), INC + 1)
        rsp.send('vCont;s:1')
        time.sleep(0.1)
        self.interrupt(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(machine.status(), 'running')
        machine.qmp('system_reset')
        harness.wait_for(lambda: int(machine.hmp('xp /1wx 0x46c').split(':')[1], 16), 60, 'firmware')
        self.assertEqual(machine.status(), 'running')

    def test_on_the_spot(self):
        """Each has QEMU run as often as the next one, and not once more after it has been told."""
        machine, rsp = self.counting()
        self.code(rsp, 'ebfe')  # jmp INC
        self.stopped(rsp.ask('vCont;s:1'), INC)
        runs = set()
        for _ in range(STEPS // 4):
            self.assertFalse(machine.running())
            machine.events.clear()
            self.stopped(rsp.ask('vCont;s:1'), INC)
            self.assertFalse(machine.running())
            runs.add(machine.events.count('RESUME'))
        self.assertEqual(len(runs), 1, runs)
        self.assertGreater(runs.pop(), 0)

    def test_interrupted_at_once(self):
        """The step's own stop may come behind that for the interrupt."""
        machine, rsp = self.counting()
        for _ in range(STEPS // 2):
            rsp._send(b'$vCont;s:1#23\x03')
            self.assertRegex(rsp.receive().decode(), '^T0[25]')
            self.assertRegex(rsp.ask('p%x' % RIP), '^[0-9a-f]{16}$')
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def test_client_leaves_meanwhile(self):
        """What ends the step then stops the guest for nobody."""
        machine, rsp = self.counting()
        self.assertEqual(rsp.detach(), 'OK')
        proc, path = self.listen_unix(machine.target())
        rsp = self.connect_unix(path)
        self.code(rsp, 'faf4 ebfc')  # cli; hlt; jmp
        self.stopped(rsp.ask('vCont;s:1'))
        rsp.send('vCont;s:1')
        harness.wait_for(machine.running, 10, 'step')
        rsp.close()
        harness.wait_for(lambda: machine.stub() is None, 10, 'the end of the session')
        machine.hmp('nmi')
        time.sleep(0.5)
        self.assertEqual(machine.status(), 'running')
        self.assertIsNone(proc.poll())

    def test_x87(self):
        """The stack turns under its physical registers. SDM volume 1, 8.1.7: tags 3 empty, 1 zero, 0 valid."""
        one, half, zero = '0000000000000080ff3f', '0000000000000080fe3f', '0' * 20
        machine, rsp = self.counting()
        self.code(rsp, 'dbe3 d9e8 d9ee')  # fninit; fld1; fldz
        for _ in range(3):
            self.stopped(rsp.ask('vCont;s:1'))
        self.assertEqual([rsp.ask('p%x' % n) for n in (24, 25, 34)], [zero, one, 'ff1f0000'])
        self.assertEqual(rsp.ask('P18=' + half), 'OK')
        self.assertEqual([rsp.ask('p%x' % n) for n in (24, 25, 34)], [half, one, 'ff0f0000'])
        self.assertRegex(machine.registers(), r'FPR6=8000000000000000 3ffe FPR7=8000000000000000 3fff')

    def wait_for_owner(self):
        """A session that goes on, with its watchpoint, as soon as the owner lets the guest run."""
        machine = self.tcg()
        machine.stop()
        rsp = self.session(machine)
        self.assertRegex(rsp.ask('vCont;s:1'), r'^E\..*was not running when it was attached to \(paused\)')
        self.set(rsp, 2, 0x46c, 4)
        rsp.send('vCont;c')
        # No reply tells that it has been taken, and a hit from before that would be of somebody else's run.
        time.sleep(harness.patience(0.5))
        return machine, rsp

    def test_found_paused(self):
        machine, rsp = self.wait_for_owner()
        machine.cont()
        self.assertRegex(rsp.receive().decode(), '^T05.*watch:46c')
        self.assertEqual(rsp.detach(), 'OK')

    def test_found_paused_and_seen_to_run_late(self):
        """It has stopped at the watchpoint before we hear that it runs."""
        machine, rsp = self.wait_for_owner()
        rsp.proc.send_signal(signal.SIGSTOP)
        machine.cont()
        harness.wait_for(lambda: machine.status() == 'debug', 20, 'the watchpoint')
        rsp.proc.send_signal(signal.SIGCONT)
        self.assertRegex(rsp.receive().decode(), '^T05.*watch:46c')
        self.assertEqual(rsp.detach(), 'OK')


class TestInterrupts(RunCase):
    def test_armed(self):
        machine, rsp = self.counting()
        self.set(rsp, 1, 0x9000)
        for n in range(INTERRUPTS):
            rsp.send('vCont;c')
            if n % 3:
                self.counts_on(machine)
            self.interrupt(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def test_against_hits(self):
        """Whichever comes first is told first; the other is not lost, and no stop is told twice."""
        machine, rsp = self.counting()
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;c'), INC)
        count = self.count(machine)
        for n in range(INTERRUPTS):
            rsp.send('vCont;c')
            time.sleep(0.002 * (n % 8))
            rsp.interrupt()
            reply = rsp.receive().decode()
            if reply.startswith('T02'):
                reply = rsp.ask('vCont;c')
            self.stopped(reply, INC)
            count += 1
            self.assertEqual(self.count(machine), count)

    def test_somebody_stops_it(self):
        machine, rsp = self.counting()
        self.set(rsp, 1, 0x9000)
        rsp.send('vCont;c')
        harness.wait_for(machine.running, 10, 'continue')
        machine.stop()
        self.assertRegex(rsp.receive().decode(), '^T02')
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(machine.status(), 'paused')
        machine.cont()
        self.check_clean(machine)

    def test_a_reset_while_it_runs(self):
        """Breakpoints last."""
        machine, rsp = self.counting()
        self.set(rsp, 1, 0xfffffff0)
        rsp.send('vCont;c')
        harness.wait_for(machine.running, 10, 'continue')
        machine.qmp('system_reset')
        self.assertRegex(rsp.receive().decode(), '^T05.*10:f0ff000000000000')
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(machine.status(), 'running')


class TestEnds(RunCase):
    """Nothing stays armed in QEMU, however we end."""

    def check_end(self, end, *options, accel=TCG, stub=None):
        machine, rsp = self.counting(*options, accel=accel)
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;c'), INC)
        end(machine, rsp)
        if stub:
            # Who disarms it connects to it once more.
            stub = harness.wait_for(lambda: re.match('disconnected:.*', machine.stub()), 10, 'the stub is free')[0]
        harness.wait_for(lambda: machine.status() == 'running', 10, 'it runs')
        self.check_clean(machine, stub)

    def kill(self, machine, rsp):
        rsp.proc.kill()
        rsp.proc.wait()

    def test_detach(self):
        self.check_end(lambda machine, rsp: self.assertEqual(rsp.detach(), 'OK'))

    def test_hang_up_while_it_runs(self):
        def end(machine, rsp):
            self.clear(rsp, 1, INC)
            self.set(rsp, 1, 0x9000)
            rsp.send('vCont;c')
            self.counts_on(machine)
            rsp.hang_up()
        self.check_end(end)

    def test_killed(self):
        self.check_end(self.kill)

    def test_killed_with_the_owners_stub(self):
        self.check_end(self.kill, '-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'), stub=True)

    def test_killed_at_any_time(self):
        machine, rsp = self.counting()
        for n in range(KILLS):
            self.set(rsp, 1, INC)
            rsp.send(('vCont;s:1', 'vCont;c')[n % 2])
            time.sleep(0.01 * n)
            self.kill(machine, rsp)
            self.check_clean(machine)
            rsp = self.session(machine)
        self.assertEqual(rsp.detach(), 'OK')

    def test_owner_ends_the_stub(self):
        """What was set is set again in the next one."""
        machine, rsp = self.counting()
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;c'), INC)
        machine.hmp('gdbserver none')
        self.hits(machine, rsp, 3)
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def test_owner_ends_the_stub_with_steps_under_way(self):
        """All but one of those that were to step have QEMU's flag on still."""
        machine, rsp = self.counting('-smp', '3')
        self.assertRegex(rsp.ask('vCont;s'), '^T05')
        machine.hmp('gdbserver none')
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)

    def relayed(self):
        machine = self.tcg('-gdb', 'unix:%s,server=on,wait=off' % self.path('gdb'))
        machine.wait_for_nothing_to_do()
        relay = Relay(machine.target()[1], self.path('relay'))
        self.addCleanup(relay.close)
        rsp = self.rsp(('--qmp', relay.path))
        rsp.ask('QStartNoAckMode')
        self.prepare(machine, rsp)
        return machine, relay, rsp

    def test_owner_lets_it_run_as_well(self):
        """In the moment of our continue."""
        machine, relay, rsp = self.relayed()
        self.set(rsp, 1, 0x9000)
        done = relay.before(b'query-status', machine.cont)
        rsp.send('vCont;c')
        self.assertTrue(done.wait(harness.patience(10)))
        harness.wait_for(machine.running, 10, 'continue')
        time.sleep(0.3)
        self.interrupt(rsp)
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine, harness.wait_for(lambda: re.match('disconnected:.*', machine.stub()), 10, 'stub')[0])

    def test_owner_ends_the_stub_in_between(self):
        """While a breakpoint is out, so that what stands on it can pass."""
        machine, relay, rsp = self.relayed()
        self.set(rsp, 1, INC)
        self.stopped(rsp.ask('vCont;c'), INC)
        relay.before(b'info registers', lambda: machine.hmp('gdbserver none'))
        self.assertRegex(rsp.ask('vCont;c'), r'^E\..*gdbstub')
        self.assertEqual(rsp.detach(), 'OK')
        self.check_clean(machine)


class TestSleep(RunCase):
    """ACPI S3, into which the guest goes by a port of the chip set."""

    def asleep(self, *breakpoints, options=(), action='vCont;c'):
        machine, rsp = self.counting(*options)
        self.code(rsp, 'ba0406 b80024 ef ebfe')  # out dx, ax; jmp
        for address in breakpoints:
            self.set(rsp, 1, address)
        rsp.send(action)
        self.assertRegex(rsp.receive().decode(), '^T')
        self.assertEqual(machine.status(), 'suspended')
        return machine, rsp

    def test_stays_asleep(self):
        """Though steps are under way that have not ended."""
        machine, rsp = self.asleep(options=('-smp', '3'), action='vCont;s:2;s:3;c')
        self.assertEqual(rsp.detach(), 'OK')
        harness.wait_for(lambda: not harness.tagged(self.tag), 20, 'our processes end')
        self.assertEqual(machine.status(), 'suspended')

    def test_reset(self):
        """It does not sleep any more."""
        machine, rsp = self.asleep(0x9000)
        machine.qmp('system_reset')
        harness.wait_for(lambda: rsp.ask('vCont;s:1').startswith('T05'), 10, 'a step')
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(machine.status(), 'running')

    def test_wakes_up(self):
        """No step wakes it; a guest that is to go on waits until its owner does."""
        for breakpoints in ((), (0x9000,)):
            with self.subTest(breakpoints=breakpoints):
                machine, rsp = self.asleep(*breakpoints)
                self.assertRegex(rsp.ask('vCont;s:1'), r'^E\..*sleeps')
                rsp.send('vCont;c')
                time.sleep(0.3)
                self.assertEqual(machine.status(), 'suspended')
                machine.qmp('system_wakeup')
                harness.wait_for(machine.running, 10, 'it wakes up')
                self.interrupt(rsp)
                self.assertEqual(rsp.detach(), 'OK')
                self.assertEqual(machine.status(), 'running')

    def test_stops_before_we_hear_of_it(self):
        """It was held when its owner has woken it up."""
        machine, rsp = self.asleep(RESET)
        rsp.proc.send_signal(signal.SIGSTOP)
        machine.qmp('system_wakeup')
        harness.wait_for(lambda: machine.status() == 'debug', 20, 'the breakpoint')
        rsp.proc.send_signal(signal.SIGCONT)
        harness.wait_for(lambda: 'is running' in rsp.ask('p%x' % RIP), 10, 'it is seen to have run')
        self.assertEqual(rsp.detach(), 'OK')
        self.assertEqual(machine.status(), 'running')
