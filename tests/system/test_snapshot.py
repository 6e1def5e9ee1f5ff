# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps with --snapshot: one instant of a guest that goes on, and a VMM that is left as it was."""

import ctypes
import mmap
import os
import random
import re
import signal
import subprocess

import elfcore
import harness
import pattern
import test_death

PAGE = pattern.PAGE
COPY_NAME = 'vmgdb-snapshot'


# Without the capability that userfaultfd(2) asks for.
UNPRIVILEGED = ('setpriv', '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace')


def copies():
    """The processes that hold snapshots, of anybody."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/comm' % pid) as f:
                if f.read().strip() == COPY_NAME:
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def copies_of(vmm):
    """Those that were made when its program was executed: that chose where things are in memory."""
    want = auxv(vmm.pid)
    return [pid for pid in copies() if auxv(pid) == want]


def auxv(pid):
    try:
        with open('/proc/%d/auxv' % pid, 'rb') as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError):
        return None


LIBC = ctypes.CDLL(None, use_errno=True)


class IoVec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def punch_hole(fd, offset, size):
    # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
    if LIBC.fallocate(fd, 3, ctypes.c_long(offset), ctypes.c_long(size)):
        raise OSError(ctypes.get_errno(), 'fallocate')


def poke(pid, hva, data):
    """Writes as a thread of the process would: it waits where that must."""
    text = ctypes.create_string_buffer(data, len(data))
    own, theirs = IoVec(ctypes.addressof(text), len(data)), IoVec(hva, len(data))
    if LIBC.process_vm_writev(pid, ctypes.byref(own), 1, ctypes.byref(theirs), 1, 0) != len(data):
        raise OSError(ctypes.get_errno(), 'process_vm_writev')


def peek(pid, hva, size):
    text = ctypes.create_string_buffer(size)
    own, theirs = IoVec(ctypes.addressof(text), size), IoVec(hva, size)
    if LIBC.process_vm_readv(pid, ctypes.byref(own), 1, ctypes.byref(theirs), 1, 0) != size:
        raise OSError(ctypes.get_errno(), 'process_vm_readv')


def flags(pid):
    """What madvise(2) has set of each mapping that has no name: address -> flags."""
    found, at = {}, None
    with open('/proc/%d/smaps' % pid) as f:
        for line in f:
            head = re.match(r'([0-9a-f]+-[0-9a-f]+) \S+ \S+ \S+ (\d+)\s*(.*)', line)
            if head:
                at = head.group(1) if head.group(3) not in ('[heap]', '[stack]') else None
            elif line.startswith('VmFlags:') and at:
                found[at] = line.split()[1:]
    return found


class SnapshotCase(harness.Case):
    def snapshot(self, target, out, *options, **kw):
        return self.run_server('dump', '--snapshot', *harness.target_of(target), *options, out, **kw)

    def paused_ms(self, result):
        self.check_ok(result)
        self.assertNotIn('stays paused', result.err)
        return int(re.search(r'the guest was paused for (\d+) ms$', result.err, re.M).group(1))

    def stamping(self, *options, **kw):
        """A VMM whose guest has rewritten its pages more than once."""
        vmm = self.vmm('--stamp', *options, **kw)
        harness.wait_for(lambda: min(vmm.peek_counters()) > 2, 30, 'the guest has filled its memory')
        return vmm

    def stamps(self, core, cpu):
        """The first and the last word of each page that a vCPU writes."""
        memory = core.read_phys(pattern.GPA_STAMP + cpu * pattern.STAMP_BYTES, pattern.STAMP_BYTES)
        words = memoryview(memory).cast('Q')
        step = PAGE // 8
        return list(zip(words[::step], words[step - 1::step]))

    def check_instant(self, core, cpu, regs):
        """What its registers say of its memory, word by word."""
        pages, done = self.stamps(core, cpu), (regs['rdi'] - regs['rsi']) // PAGE
        number = regs['rax']
        if done == 0 and pages[-1][1] == number:
            done = len(pages)  # the next pass has no number yet
        for n, (first, last) in enumerate(pages):
            if n < done:
                want = [(number, number)]
            elif n == done:
                want = [(number - 1, number - 1), (number, number - 1), (number, number)]
            else:
                want = [(number - 1, number - 1)]
            self.assertIn((first, last), want, 'page %d of vCPU %d, which was at %d' % (n, cpu, done))
        return number

    def check_instants(self, path):
        """The number of the pass of each vCPU."""
        with elfcore.Core(path) as core:
            return [self.check_instant(core, cpu, regs) for cpu, regs in enumerate(core.prstatus())]

    def check_goes_on_meanwhile(self, vmm):
        """The dump waits for us to read it; the guest does not."""
        proc = self.begun(vmm)
        before = vmm.peek_counters()
        harness.wait_for(lambda: all(b > a + 2 for a, b in zip(before, vmm.peek_counters())), 30,
                         'the guest rewrites its memory')
        self.assertIsNone(proc.poll())
        with self.rest_of(proc) as core:
            for cpu, then in enumerate(before):
                self.assertLessEqual(self.check_instant(core, cpu, core.prstatus()[cpu]), then)

    def check_instants_in_a_row(self, vmm, n):
        seen = []
        for _ in range(n):
            self.paused_ms(self.snapshot(vmm, self.path('core')))
            seen.append(self.check_instants(self.path('core')))
        for a, b in zip(seen, seen[1:]):
            self.assertTrue(all(x < y for x, y in zip(a, b)), seen)

    def check_left_alone(self, vmm, n, steady=True):
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        for _ in range(n):
            self.paused_ms(self.snapshot(vmm, self.path('core')))
            # Firmware that goes on with its start takes its time under emulation.
            vmm.counts_on(seconds=40)
            self.assertEqual(copies_of(vmm), [])
        look.check_same(self, steady)
        after = flags(vmm.pid)
        self.assertEqual({at: f for at, f in after.items() if at in before},
                         {at: f for at, f in before.items() if at in after})

    def check_same_as_full(self, vmm):
        """Of a guest that does not run both are the same file."""
        self.dump(vmm, self.path('full'))
        self.check_ok(self.snapshot(vmm, self.path('core')))
        with open(self.path('full'), 'rb') as a, open(self.path('core'), 'rb') as b:
            self.assertEqual(a.read(), b.read())
        self.assertEqual(os.stat(self.path('full')).st_blocks, os.stat(self.path('core')).st_blocks)

    def check_same_as_qemu(self, qemu):
        qemu.stop()
        qemu.dump(self.path('theirs'))
        self.check_ok(self.snapshot(qemu, self.path('ours')))
        with elfcore.Core(self.path('theirs')) as theirs, elfcore.Core(self.path('ours')) as ours:
            for load in theirs.loads:
                self.assertTrue(ours.read_phys(load.paddr, load.memsz) == theirs.read_phys(load.paddr, load.memsz), load)

    def begun(self, vmm):
        """A dump that has the snapshot and waits for its reader."""
        proc = self.popen('dump', '-q', '--snapshot', '--attach', vmm.pid, '-', stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.head = proc.stdout.read(PAGE)
        harness.wait_for(lambda: not harness.traced(vmm), 10, 'the VMM is let go')
        return proc

    def rest_of(self, proc):
        """The core that it writes."""
        with open(self.path('rest'), 'wb') as f:
            f.write(self.head + proc.stdout.read())
        self.assertEqual(proc.wait(harness.patience(60)), 0)
        return elfcore.Core(self.path('rest'))


class TestPrivate(SnapshotCase):
    def test_one_instant(self):
        self.check_instants_in_a_row(self.stamping(), 5)

    def test_huge_pages(self):
        self.check_instants_in_a_row(self.stamping('--hugepages'), 3)

    def test_goes_on_meanwhile(self):
        self.check_goes_on_meanwhile(self.stamping())

    def test_left_alone(self):
        self.check_left_alone(self.vmm('--threads', '12', '--low', '--touch', '1'), 20)

    def test_same_as_a_full_pause(self):
        self.check_same_as_full(self.vmm('--paused'))

    def test_jailed_vmm(self):
        """Every thread has a filter that ends the process for clone and madvise."""
        vmm = self.vmm('--seccomp')
        self.check_left_alone(vmm, 2)

    def test_qemu(self):
        """It keeps its memory from its children (MADV_DONTFORK)."""
        qemu = self.qemu('-smp', '2')
        self.assertTrue(any('dc' in f for f in flags(qemu.pid).values()))
        self.check_left_alone(qemu, 5, steady=False)
        self.check_same_as_qemu(qemu)

    def test_reaper(self):
        """Orphans would be its children: it stays paused, and the dump says so."""
        vmm = self.vmm()
        inner = subprocess.Popen(['unshare', '--pid', '--fork', '--kill-child', harness.TESTVMM],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(harness._end, inner)
        inner.stdout.readline()
        pid, = harness.children(inner.pid)
        result = self.check_ok(self.snapshot(pid, self.path('core')))
        self.assertRegex(result.err, 'cannot take a snapshot: process %d is process 1 of its pid namespace; '
                                     'the guest stays paused while the dump is written' % pid)
        self.assertRegex(result.err, r'the guest was paused for \d+ ms')
        vmm.counts_on()


class TestShared(SnapshotCase):
    """RAM that is a memfd: a copy would share it, so it is put aside page by page."""

    def test_one_instant(self):
        self.check_instants_in_a_row(self.stamping('--shared'), 5)

    def test_without_privileges(self):
        """The VMM may not have a userfaultfd(2) by itself; who attaches may open the device."""
        vmm = self.stamping('--shared', through=UNPRIVILEGED)
        self.check_instants_in_a_row(vmm, 3)
        self.check_left_alone(vmm, 2)

    def test_jailed_vmm(self):
        self.check_left_alone(self.vmm('--seccomp', '--shared'), 2)

    def test_goes_on_meanwhile(self):
        self.check_goes_on_meanwhile(self.stamping('--shared'))

    def test_left_alone(self):
        self.check_left_alone(self.vmm('--shared', '--threads', '12', '--low', '--touch', '1'), 20)

    def test_same_as_a_full_pause(self):
        self.check_same_as_full(self.vmm('--paused', '--shared'))

    def test_untouched_memory(self):
        """What was never touched at the instant is zeros, even where the guest has touched it since."""
        vmm = self.vmm('--shared', '--touch', '0', '--low')
        proc = self.begun(vmm)
        ram = vmm.slots()[0]['hva']
        for gpa in range(pattern.GPA_STAMP, pattern.RAM_BYTES, PAGE):
            poke(vmm.pid, ram + gpa, b'later')
        core = self.rest_of(proc)
        self.assertEqual(core.read_phys(pattern.GPA_STAMP, pattern.RAM_BYTES - pattern.GPA_STAMP),
                         bytes(pattern.RAM_BYTES - pattern.GPA_STAMP))

    def test_qemu(self):
        """Its ROMs are private, and its RAM shared."""
        qemu = self.qemu('-smp', '2', '-object', 'memory-backend-memfd,id=ram,size=64M', '-machine', 'pc,memory-backend=ram',
                         megabytes=64)
        self.check_left_alone(qemu, 5, steady=False)
        self.check_same_as_qemu(qemu)

    def test_hugetlb(self):
        pool = '/proc/sys/vm/nr_hugepages'
        with open(pool) as f:
            before = f.read()
        self.addCleanup(write, pool, before)
        write(pool, str(int(before) + 33))
        with open(pool) as f:
            if int(f.read()) < int(before) + 33:
                self.skipTest('no 33 huge pages are to be had')
        options = '-smp', '1', '-machine', 'pc,memory-backend=ram', '-object'
        ram = 'memory-backend-memfd,id=ram,size=64M,hugetlb=on,hugetlbsize=2M,share='
        qemu = self.qemu(*options, ram + 'on', megabytes=64)
        self.check_left_alone(qemu, 3, steady=False)
        self.check_same_as_qemu(qemu)
        qemu.close()
        qemu = self.qemu(*options, ram + 'off', megabytes=64)
        result = self.check_ok(self.snapshot(qemu, self.path('core')))
        self.assertRegex(result.err, 'guest memory at 0x0 is private in hugetlbfs, .*; the guest stays paused')

    def check_given_back(self, use):
        """What the VMM has cut out of its RAM since, as a balloon does, is not known any more: no dump of it."""
        vmm = self.vmm('--shared', '--low')
        proc = self.begun(vmm)
        ram = vmm.slots()[0]['hva']
        with open('/proc/%d/maps' % vmm.pid) as f:
            names, = [line.split()[0] for line in f if line.startswith('%x-' % ram)]
        with open('/proc/%d/map_files/%s' % (vmm.pid, names), 'r+b') as f:
            punch_hole(f.fileno(), pattern.GPA_STAMP + 0x1000000, 16 * PAGE)
        use(vmm.pid, ram + pattern.GPA_STAMP + 0x1000000)
        _, err = proc.communicate(timeout=harness.patience(20))
        self.assertEqual(proc.returncode, 1)
        self.assertRegex(err.decode(), 'the snapshot is lost at 0x[0-9a-f]+ of the VMM, process %d' % vmm.pid)
        vmm.counts_on()

    def test_given_back(self):
        self.check_given_back(lambda pid, hva: None)

    def test_given_back_and_written(self):
        self.check_given_back(lambda pid, hva: [poke(pid, hva + n * PAGE, b'later') for n in range(16)])

    def test_given_back_and_read(self):
        self.check_given_back(lambda pid, hva: [peek(pid, hva + n * PAGE, 8) for n in range(16)])

    def test_written_by_another_process(self):
        vmm = self.vmm('--shared')
        with open('/proc/%d/maps' % vmm.pid) as f:
            names = [line.split()[0] for line in f if 'guest-ram' in line]
        with open('/proc/%d/map_files/%s' % (vmm.pid, names[0]), 'r+b') as f, mmap.mmap(f.fileno(), PAGE):
            result = self.check_ok(self.snapshot(vmm, self.path('core')))
        self.assertRegex(result.err, r"cannot take a snapshot: process %d writes the guest's memory as well \(/memfd:guest-"
                                     r'ram \(deleted\)\); the guest stays paused while the dump is written' % os.getpid())
        vmm.counts_on()

    def test_two_at_once(self):
        """The kernel protects memory for one of them: the other waits with the guest paused."""
        vmm = self.stamping('--shared')
        proc = self.begun(vmm)
        result = self.check_ok(self.snapshot(vmm, self.path('core')))
        self.assertRegex(result.err, 'cannot be protected by userfaultfd: .*; the guest stays paused')
        self.check_instants(self.path('core'))
        with self.rest_of(proc) as core:
            for cpu, regs in enumerate(core.prstatus()):
                self.check_instant(core, cpu, regs)


class TestOptions(SnapshotCase):
    def test_core(self):
        vmm = self.vmm('--cpus', '1')
        self.dump(vmm, self.path('full'))
        result = self.check_ok(self.snapshot(self.path('full'), self.path('again'), '-q'))
        self.assertRegex(result.err, 'the core backend cannot take a snapshot of guest memory')
        with open(self.path('full'), 'rb') as a, open(self.path('again'), 'rb') as b:
            self.assertEqual(a.read(), b.read())

    def test_means_nothing_elsewhere(self):
        self.check_error(self.run_server('console', '--snapshot', '--attach', '1'), 2,
                         '--snapshot means nothing with console')


class FailureCase(SnapshotCase):
    """One way of having memory, named by the options of its VMM."""

    OPTIONS = ()

    def check_nothing_left(self, vmm, look, before, *kept):
        harness.wait_for(lambda: not copies_of(vmm), 20, 'the end of the copy')
        vmm.counts_on()
        look.check_same(self)
        self.assertEqual(flags(vmm.pid), before)
        self.assertEqual([f for f in os.listdir(self.dir) if f not in ('core', 'log', *kept)], [])


class Failures:
    def test_full_disk(self):
        vmm = self.stamping(*self.OPTIONS)
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        disk = harness.SmallDisk(self.path('disk'), 4 << 20)
        self.addCleanup(disk.close)
        result = self.snapshot(vmm, os.path.join(disk.path, 'core'), '-q')
        self.check_error(result, 1, 'No space left on device')
        self.assertEqual(os.listdir(disk.path), [])
        harness.wait_for(lambda: not copies_of(vmm), 20, 'the end of the copy')
        look.check_same(self)
        self.assertEqual(flags(vmm.pid), before)
        vmm.counts_on()

    def test_cancelled(self):
        vmm = self.stamping(*self.OPTIONS)
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        proc = self.begun(vmm)
        proc.send_signal(signal.SIGINT)
        # Before anything is read: it may be done with the rest at once.
        proc.wait(harness.patience(20))
        _, err = proc.communicate(timeout=harness.patience(20))
        self.assertEqual((proc.returncode, err.count(b'\n')), (1, 1), err)
        self.assertIn(b'cancelled', err)
        self.check_nothing_left(vmm, look, before)

    def test_reader_leaves(self):
        vmm = self.stamping(*self.OPTIONS)
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        proc = self.begun(vmm)
        proc.stdout.close()
        self.assertEqual(proc.wait(harness.patience(20)), 1)
        self.check_nothing_left(vmm, look, before)

    def test_killed_while_it_writes(self):
        vmm = self.stamping(*self.OPTIONS)
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        for victims in ('front', 'guardian', 'both'):
            with self.subTest(victims=victims):
                proc = self.begun(vmm)
                guardian = test_death.guardian_of(proc.pid)
                for victim in {'front': [proc.pid], 'guardian': [guardian], 'both': [proc.pid, guardian]}[victims]:
                    os.kill(victim, signal.SIGKILL)
                _, err = proc.communicate(timeout=harness.patience(20))
                self.check_outcome_of_kill(victims, proc.returncode, err.decode())
                self.check_nothing_left(vmm, look, before)

    def test_random_kills(self):
        vmm = self.stamping('--tolerate-eintr', *self.OPTIONS)
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        rand = random.Random(11)
        for _ in range(harness.times(40)):
            proc = self.popen('dump', '-q', '--snapshot', '--attach', vmm.pid, self.path('core'),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            test_death.kill_all(proc, rand)
            self.check_nothing_left(vmm, look, before)


class TestPrivateFailures(Failures, FailureCase):
    def check_outcome_of_kill(self, victims, status, err):
        if victims == 'guardian':
            self.assertEqual(status, 1)
            self.assertRegex(err, 'the snapshot is lost: process [0-9]+, which held it, was killed')

    def test_copy_is_killed(self):
        """As the kernel does when memory runs out."""
        vmm = self.stamping()
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        proc = self.begun(vmm)
        copy, = copies_of(vmm)
        with open('/proc/%d/oom_score_adj' % copy) as f:
            self.assertEqual(f.read().strip(), '1000')
        self.assertEqual(harness.fds(copy), {})
        os.kill(copy, signal.SIGKILL)
        _, err = proc.communicate(timeout=harness.patience(20))
        self.assertEqual(proc.returncode, 1)
        self.assertRegex(err.decode(), 'the snapshot is lost: process %d' % copy)
        self.check_nothing_left(vmm, look, before)

    def test_vmm_dies(self):
        """The picture does not need it any more."""
        vmm = self.stamping()
        proc = self.begun(vmm)
        made = copies_of(vmm)
        vmm.proc.kill()
        vmm.proc.wait()
        copy, = made
        proc.communicate(timeout=harness.patience(60))
        self.assertEqual(proc.returncode, 0)
        harness.wait_for(lambda: not os.path.exists('/proc/%d' % copy), 5, 'the end of the copy')


class TestSharedFailures(Failures, FailureCase):
    """While the dump waits for its reader most of the guest's pages are protected, and it runs into them."""

    OPTIONS = ('--shared',)

    def check_outcome_of_kill(self, victims, status, err):
        """The guardian has no part in it any more."""

    def test_vmm_dies(self):
        vmm = self.stamping('--shared')
        proc = self.begun(vmm)
        vmm.proc.kill()
        vmm.proc.wait()
        _, err = proc.communicate(timeout=harness.patience(60))
        self.assertEqual(proc.returncode, 1)
        self.assertRegex(err.decode(), 'process %d,? has exited|the snapshot is lost' % vmm.pid)

    def test_hangs(self):
        """A front end that is stopped holds whoever writes; killed it lets them go."""
        vmm = self.stamping('--shared')
        look, before = harness.Look(vmm.pid), flags(vmm.pid)
        proc = self.begun(vmm)
        os.kill(proc.pid, signal.SIGSTOP)
        harness.wait_for(lambda: len({tuple(vmm.peek_counters()) for _ in range(50)}) == 1, 20, 'the guest waits')
        proc.kill()
        proc.communicate()
        self.check_nothing_left(vmm, look, before)


class StepCase(test_death.StepCase, SnapshotCase):
    """SIGKILL behind each thing that is done to the VMM for a snapshot."""

    OPTIONS = ()
    DONE_BY = 'PTRACE_GETEVENTMSG'

    def words(self):
        return 'dump', '-q', '--snapshot', self.path('core')

    def chosen(self, names, first):
        """From the request that takes the snapshot on to its answer."""
        at = names.index(self.DONE_BY)
        start = at - names[at::-1].index('request')
        end = names.index('reply', at)
        return list(enumerate(names, first))[start:end + 1]

    def check_each(self, vmm, who, least, chosen, counts_on):
        before = flags(vmm.pid)
        own = harness.children(vmm.pid)

        def check():
            harness.wait_for(lambda: not copies_of(vmm), 20, 'the end of the copy')
            counts_on()
            harness.wait_for(lambda: harness.children(vmm.pid) == own, 5, 'the VMM has no child of ours')
            after = flags(vmm.pid)
            self.assertEqual({at: f for at, f in after.items() if at in before},
                             {at: f for at, f in before.items() if at in after})

        self.each_step(vmm, who, self.words(), least, check, chosen=chosen)


class TestPrivateSteps(StepCase):
    def test_guardian_dies_test_vmm(self):
        vmm = self.vmm('--tolerate-eintr', '--low')
        look = harness.Look(vmm.pid)
        self.check_each(vmm, 'guardian', 45, self.chosen, vmm.counts_on)
        look.check_same(self)

    def test_front_end_dies_test_vmm(self):
        vmm = self.vmm('--low')
        look = harness.Look(vmm.pid)
        self.check_each(vmm, 'front', 8, enumerate, lambda: vmm.counts_on(seconds=test_death.GOES_ON))
        look.check_same(self)

    def test_guardian_dies_qemu(self):
        """Its memory is for its children only between two of the steps."""
        qemu = self.qemu('-smp', '1', megabytes=16)
        self.check_each(qemu, 'guardian', 100, self.chosen, lambda: self.assertTrue(qemu.running()))
        qemu.counts_on()


class TestSharedSteps(StepCase):
    def test_guardian_dies(self):
        vmm = self.vmm('--tolerate-eintr', '--low', '--shared')
        look = harness.Look(vmm.pid)
        self.check_each(vmm, 'guardian', 45, self.chosen, vmm.counts_on)
        look.check_same(self)

    def test_guardian_dies_without_privileges(self):
        vmm = self.vmm('--tolerate-eintr', '--low', '--shared', '--cpus', '1', through=UNPRIVILEGED)
        look = harness.Look(vmm.pid)
        self.check_each(vmm, 'guardian', 60, self.chosen, vmm.counts_on)
        look.check_same(self)

    def test_front_end_dies(self):
        vmm = self.vmm('--low', '--shared')
        look = harness.Look(vmm.pid)
        self.check_each(vmm, 'front', 8, enumerate, lambda: vmm.counts_on(seconds=test_death.GOES_ON))
        look.check_same(self)
