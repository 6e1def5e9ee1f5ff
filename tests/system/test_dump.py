# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps: the right bytes in the right places, readers that are content, and every refusal."""

import filecmp
import ctypes
import functools
import os
import socket
import stat
import struct
import subprocess
import threading

import elfcore
import harness
import pattern

SLOTS = [(0, pattern.RAM_BYTES), (pattern.GPA_ROM, pattern.GPA_ROM + pattern.ROM_BYTES),
         (pattern.GPA_HIGH, pattern.GPA_HIGH + pattern.HIGH_BYTES)]


def joined(ranges):
    """Sorted, with neighbours joined: as Core.ranges() has them."""
    out = []
    for start, end in sorted(ranges):
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def clipped(begin, length, ranges=SLOTS):
    parts = [(max(a, begin), min(b, begin + length)) for a, b in ranges]
    return joined((a, b) for a, b in parts if a < b)


class DumpCase(harness.Case):
    def check_readers(self, path):
        """eu-readelf and gdb read it and complain of nothing."""
        done = subprocess.run(['eu-readelf', '-l', '-n', path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        out = self.run_gdb('-c', path, '-ex', 'info threads', '-ex', 'info registers')
        self.assertNotRegex(out.lower(), 'warning|error|not in|no registers|unable|cannot')
        return out

    def check_pids(self, core):
        pids = [c['pid'] for c in core.prstatus()]
        self.assertNotIn(0, pids)
        self.assertEqual(len(set(pids)), len(pids), 'unique pids')

    def nothing_left(self, directory, *names):
        self.assertEqual(sorted(os.listdir(directory)), sorted(names), 'left behind')


class TestTestVmm(DumpCase):
    def check_memory(self, vmm, core):
        """Each page has the formula's words, but for what the guest and its tables changed."""
        lively = [(pattern.GPA_CODE, pattern.GPA_CODE + 8 * pattern.CODE_STRIDE),
                  (pattern.GPA_TABLES, pattern.GPA_TABLES + 8 * pattern.TABLES_STRIDE)]
        always = range(pattern.GPA_DATA, pattern.GPA_DATA + 3 * pattern.PAGE, pattern.PAGE)
        for slot in vmm.slots():
            for n in range(slot['bytes'] // pattern.PAGE):
                gpa = slot['gpa'] + n * pattern.PAGE
                if any(a <= gpa < b for a, b in lively) or pattern.GPA_CPU <= gpa < pattern.GPA_CPU + 0x8000:
                    continue
                want = pattern.page(0, gpa) if pattern.touched(n) or gpa in always else bytes(pattern.PAGE)
                self.assertTrue(core.read_phys(gpa, pattern.PAGE) == want, 'page %#x' % gpa)

    def check_registers(self, vmm, core):
        self.assertEqual(len(core.prstatus()), len(vmm.vms[0]['vcpus']))
        self.check_pids(core)
        for name, states in (('PRSTATUS', core.prstatus()), ('QEMU', core.qemu_states())):
            for cpu, got in enumerate(states):
                want = pattern.registers(vmm.mode, 0, cpu, vmm.work, vmm.missing(cpu))
                for reg in sorted(set(want) & set(got)):
                    value = got[reg] & ~pattern.EFLAGS_ARITHMETIC if reg == 'eflags' else got[reg]
                    self.assertEqual(hex(value), hex(want[reg]), '%s of vCPU %d in %s' % (reg, cpu, name))

    def check_whole(self, elf_class, machine, *options):
        vmm = self.vmm(*options)
        path = self.path('core')
        self.dump(vmm, path)
        vmm.counts_on()
        with elfcore.Core(path) as core:
            self.assertEqual((core.elf_class, core.machine), (elf_class, machine))
            self.assertEqual(core.ranges(), joined((s['gpa'], s['gpa'] + s['bytes']) for s in vmm.slots()))
            self.check_memory(vmm, core)
            self.check_registers(vmm, core)
        return path

    def test_long(self):
        path = self.check_whole(elfcore.ELFCLASS64, elfcore.EM_X86_64)
        out = self.check_readers(path)
        self.assertIn('%x' % pattern.value('G', 0, 0, 3), out, 'rbx of vCPU 0 in gdb')

    def test_long_shared_ram(self):
        self.check_readers(self.check_whole(elfcore.ELFCLASS64, elfcore.EM_X86_64, '--shared'))

    def test_16(self):
        self.check_readers(self.check_whole(elfcore.ELFCLASS32, elfcore.EM_386, '--mode', '16', '--low'))

    def test_flat(self):
        self.check_readers(self.check_whole(elfcore.ELFCLASS32, elfcore.EM_386, '--mode', 'flat', '--low'))

    def test_pae(self):
        self.check_readers(self.check_whole(elfcore.ELFCLASS32, elfcore.EM_386, '--mode', 'pae', '--low'))

    def test_32_bit_with_high_memory(self):
        self.check_whole(elfcore.ELFCLASS64, elfcore.EM_386, '--mode', 'flat')

    def test_headers(self):
        """What makedumpfile wants: program headers at 64, and no sections."""
        vmm = self.vmm()
        self.dump(vmm, self.path('core'))
        with elfcore.Core(self.path('core')) as core:
            self.assertEqual((core.phoff, core.ehsize, core.shnum, core.shoff), (64, 64, 0, 0))
            for load in core.loads:
                self.assertLessEqual(load.filesz, load.memsz)
                self.assertEqual(load.offset % pattern.PAGE, 0, load)
                self.assertFalse(load.filesz % pattern.PAGE, load)
            # No Linux to be found: virtual is physical, or unknown.
            self.assertTrue(all(l.vaddr in (l.paddr, 0) for l in core.loads))

    def test_zeros_are_holes(self):
        vmm = self.vmm('--touch', '1', '--ram', '0x10000000')
        self.dump(vmm, self.path('core'))
        st = os.stat(self.path('core'))
        self.assertGreater(st.st_size, 0x10000000)
        self.assertLess(st.st_blocks * 512, 0x2000000)

    def test_core_of_a_core(self):
        vmm = self.vmm()
        one, two, three = self.path('1'), self.path('2'), self.path('3')
        self.dump(vmm, one)
        self.dump(one, two)
        self.dump(two, three)
        self.assertTrue(filecmp.cmp(one, two, shallow=False), 'dump(core(dump)) is the same file')
        self.assertTrue(filecmp.cmp(two, three, shallow=False))

    def test_core_served_to_gdb(self):
        vmm = self.vmm()
        path = self.path('core')
        self.dump(vmm, path)
        out = self.gdb(path, 'thread 2', 'p/x $rbx', 'x/gx %#x' % pattern.GVA_DATA, 'p/x $lstar', 'detach')
        self.assertIn('%#x' % pattern.value('G', 0, 1, 3), out)
        self.assertIn('%#x' % pattern.word(0, pattern.GPA_DATA + 0x1000), out)

    def test_second_vm(self):
        vmm = self.vmm('--vms', '2')
        self.dump(vmm, self.path('core'), '--vm', '1')
        with elfcore.Core(self.path('core')) as core:
            want = pattern.word(1, pattern.GPA_DATA).to_bytes(8, 'little')
            self.assertEqual(core.read_phys(pattern.GPA_DATA, 8), want)
            self.assertEqual(core.prstatus()[0]['rbx'], pattern.value('G', 1, 0, 3))


class TestRanges(DumpCase):
    CASES = [
        (0x1000, 0x3000),
        (pattern.RAM_BYTES - 0x2000, 0x10000),                       # ends in a hole
        (pattern.RAM_BYTES, pattern.GPA_ROM - pattern.RAM_BYTES + 0x1000),  # starts in one
        (pattern.RAM_BYTES - 0x1000, pattern.GPA_HIGH),              # spans all three blocks
        (pattern.GPA_HIGH - 0x1000, 0x2000),                         # crosses from one into its neighbour
        (pattern.GPA_HIGH + pattern.HIGH_BYTES - 0x1000, 1 << 40),
        (0, (1 << 64) - 1),
        (0x1234000, 0xffffffffffffffff - 0x1234000 + 1),             # up to 2^64 exactly
    ]

    def test_ranges(self):
        vmm = self.vmm('--paused')
        for begin, length in self.CASES:
            for paging in ((), ('-p',)):
                with self.subTest(begin=hex(begin), length=hex(length), paging=paging):
                    self.dump(vmm, self.path('core'), *paging, '--begin', hex(begin), '--length', hex(length))
                    with elfcore.Core(self.path('core')) as core:
                        self.assertEqual(core.ranges(), clipped(begin, length))
                        gpa = core.ranges()[0][0]
                        slot = next(s for s in vmm.slots() if s['gpa'] <= gpa < s['gpa'] + s['bytes'])
                        self.assertEqual(core.read_phys(gpa, 4096), vmm.peek(slot['hva'] + gpa - slot['gpa'], 4096))
                        self.assertTrue(all(l.filesz for l in core.loads), 'no header for what is left out')

    def test_bytes_that_are_no_pages(self):
        vmm = self.vmm('--paused')
        self.dump(vmm, self.path('core'), '--begin', hex(pattern.GPA_DATA + 0x123), '--length', '0x77')
        with elfcore.Core(self.path('core')) as core:
            hva = vmm.slots()[0]['hva']
            want = vmm.peek(hva + pattern.GPA_DATA + 0x123, 0x77)
            self.assertEqual(core.read_phys(pattern.GPA_DATA + 0x123, 0x77), want)
            start, end = core.ranges()[0]
            self.assertLessEqual(end - start, 4096)


class TestPaging(DumpCase):
    # gva, gpa and length that the tables of every vCPU map.
    MAPPED = [(pattern.GVA_DATA, pattern.GPA_DATA + 0x1000, 0x1000),
              (pattern.GVA_DATA + 0x1000, pattern.GPA_DATA, 0x1000),
              (pattern.GVA_LARGE, pattern.GPA_LARGE, 0x200000),
              (pattern.GVA_HUGE, 0, pattern.RAM_BYTES),
              (pattern.GVA_DIRECT, 0, pattern.RAM_BYTES),
              (pattern.GVA_DIRECT + pattern.GPA_HIGH, pattern.GPA_HIGH, pattern.HIGH_BYTES),
              (pattern.GVA_LAST, pattern.GPA_DATA + 0x2000, 0x1000)]

    def load_of(self, core, gva, gpa, size):
        for load in core.loads:
            if load.vaddr <= gva and gva + size <= load.vaddr + load.memsz and gva - load.vaddr == gpa - load.paddr:
                return load
        return None

    def test_mappings(self):
        vmm = self.vmm()
        self.dump(vmm, self.path('core'), '-p')
        with elfcore.Core(self.path('core')) as core:
            for mapping in self.MAPPED:
                self.assertTrue(self.load_of(core, *mapping), '%#x -> %#x, %#x' % mapping)
            for cpu in range(2):
                gpa = pattern.GPA_CPU + cpu * pattern.PAGE
                self.assertTrue(self.load_of(core, pattern.GVA_CPU, gpa, pattern.PAGE), 'of vCPU %d' % cpu)
            self.assertEqual(core.ranges(), joined(SLOTS), 'no RAM is lost')
            self.assertFalse([l for l in core.loads if pattern.GPA_MMIO <= l.paddr < pattern.GPA_ROM and l.filesz])
        self.check_readers(self.path('core'))
        vmm.counts_on()

    def test_same_bytes_as_without(self):
        vmm = self.vmm('--paused')
        self.dump(vmm, self.path('flat'))
        self.dump(vmm, self.path('paging'), '-p')
        with elfcore.Core(self.path('flat')) as a, elfcore.Core(self.path('paging')) as b:
            self.assertIsNone(elfcore.first_difference(a, b))

    def test_gdb_reads_virtual_addresses(self):
        vmm = self.vmm()
        self.dump(vmm, self.path('core'), '-p')
        out = self.run_gdb('-c', self.path('core'), '-ex', 'x/gx %#x' % pattern.GVA_DATA,
                           '-ex', 'x/gx %#x' % (pattern.GVA_DIRECT + pattern.GPA_HIGH + 0x5678))
        self.assertIn('0x%016x' % pattern.word(0, pattern.GPA_DATA + 0x1000), out)
        self.assertIn('0x%016x' % pattern.word(0, pattern.GPA_HIGH + 0x5678), out)

    def test_trimmed_by_a_range(self):
        vmm = self.vmm()
        begin, length = pattern.GPA_DATA + 0x1000, 0x1000
        self.dump(vmm, self.path('core'), '-p', '--begin', hex(begin), '--length', hex(length))
        with elfcore.Core(self.path('core')) as core:
            self.assertTrue(self.load_of(core, pattern.GVA_DATA, begin, length))
            self.assertTrue(self.load_of(core, pattern.GVA_DIRECT + begin, begin, length))
            for load in core.loads:
                self.assertTrue(begin <= load.paddr and load.paddr + load.memsz <= begin + length, load)


class TestQemu(DumpCase):
    def check_same(self, ours, theirs):
        self.assertIsNone(elfcore.first_difference(ours, theirs))
        self.check_same_registers(ours, theirs)

    def check_same_registers(self, ours, theirs):
        self.assertEqual(ours.machine, theirs.machine)
        for get in (elfcore.Core.prstatus, elfcore.Core.qemu_states):
            left, right = get(ours), get(theirs)
            self.assertEqual(len(left), len(right))
            for cpu, (a, b) in enumerate(zip(left, right)):
                for name in sorted(set(b) - {'pid', 'orig_rax'}):
                    if name.endswith('_attr'):
                        continue
                    self.assertEqual(a[name], b[name], '%s of vCPU %d' % (name, cpu))

    def test_same_as_its_own_dump(self):
        qemu = self.qemu('-smp', '2')
        qemu.stop()
        self.dump(qemu, self.path('ours'))
        self.assertFalse(qemu.running(), 'it was stopped and stays so')
        qemu.dump(self.path('theirs'))
        with elfcore.Core(self.path('ours')) as ours, elfcore.Core(self.path('theirs')) as theirs:
            self.assertEqual(ours.machine, elfcore.EM_386)
            self.assertEqual(ours.elf_class, elfcore.ELFCLASS32)
            self.check_same(ours, theirs)
            self.check_pids(ours)
        self.check_readers(self.path('ours'))
        qemu.cont()
        qemu.counts_on()

    def test_running_guest_goes_on(self):
        qemu = self.qemu()
        look = harness.Look(qemu.pid)
        self.dump(qemu, self.path('core'))
        look.check_same(self, steady=False)
        self.assertTrue(qemu.running())
        qemu.counts_on()

    def test_core_of_a_core(self):
        qemu = self.qemu()
        self.dump(qemu, self.path('1'))
        self.dump(self.path('1'), self.path('2'))
        self.assertTrue(filecmp.cmp(self.path('1'), self.path('2'), shallow=False))

    def test_its_core_dumped_again(self):
        qemu = self.qemu('-smp', '2')
        qemu.stop()
        qemu.dump(self.path('theirs'))
        self.dump(self.path('theirs'), self.path('again'))
        with elfcore.Core(self.path('again')) as again, elfcore.Core(self.path('theirs')) as theirs:
            self.check_same(again, theirs)
            rip = theirs.prstatus()[1]['rip']
        self.check_readers(self.path('again'))
        out = self.gdb(self.path('theirs'), 'thread 2', 'p/x $rip', 'detach')
        self.assertIn('= %#x' % rip, out)


class TestOutputs(DumpCase):
    def setUp(self):
        super().setUp()
        self.target = self.vmm('--paused')
        self.dump(self.target, self.path('reference'))
        with open(self.path('reference'), 'rb') as f:
            self.reference = f.read()

    def test_standard_output(self):
        got = self.check_ok(self.run_server('dump', '-q', *harness.target_of(self.target), '-', text=False))
        self.assertTrue(got.out == self.reference)

    def test_descriptor(self):
        """Written from where it stands, and never truncated."""
        path = self.path('file')
        with open(path, 'wb') as f:
            f.write(b'before' + bytes(len(self.reference)) + b'behind')
        fd = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.lseek(fd, 6, os.SEEK_SET)
        self.check_ok(self.run_server('dump', '-q', *harness.target_of(self.target), 'fd:%d' % fd, pass_fds=[fd]))
        with open(path, 'rb') as f:
            self.assertTrue(f.read() == b'before' + self.reference + b'behind')

    def test_descriptor_is_a_pipe(self):
        r, w = os.pipe()
        got = []
        reader = threading.Thread(target=lambda: got.append(open(r, 'rb').read()))
        reader.start()
        result = self.run_server('dump', '-q', *harness.target_of(self.target), 'fd:%d' % w, pass_fds=[w])
        os.close(w)
        reader.join()
        self.check_ok(result)
        self.assertTrue(got[0] == self.reference)

    def test_fifo(self):
        os.mkfifo(self.path('fifo'))
        got = []

        def read():
            with open(self.path('fifo'), 'rb') as f:
                got.append(f.read())

        reader = threading.Thread(target=read)
        reader.start()
        self.dump(self.target, self.path('fifo'))
        reader.join()
        self.assertTrue(got[0] == self.reference)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.path('fifo')).st_mode))

    def test_file_is_private_and_replaces(self):
        path = self.path('old')
        with open(path, 'w') as f:
            f.write('old')
        os.chmod(path, 0o644)
        self.dump(self.target, path)
        self.assertTrue(filecmp.cmp(path, self.path('reference'), shallow=False))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.nothing_left(self.dir, 'old', 'reference')

    def test_relative_path(self):
        self.check_ok(self.run_server('dump', '-q', *harness.target_of(self.target), 'here', cwd=self.dir))
        self.assertTrue(filecmp.cmp(self.path('here'), self.path('reference'), shallow=False))

    def test_from_gdb(self):
        out = self.gdb(self.target, 'monitor dump-guest-memory %s' % self.path('monitor'), 'detach')
        self.assertTrue(os.path.exists(self.path('monitor')), out)
        self.assertTrue(filecmp.cmp(self.path('monitor'), self.path('reference'), shallow=False))

    def test_from_the_console(self):
        result = self.check_ok(self.console(self.target, 'dump-guest-memory file:%s' % self.path('console'),
                                            'dump-guest-memory %s 0x40000 0x1000' % self.path('part')))
        self.assertTrue(filecmp.cmp(self.path('console'), self.path('reference'), shallow=False), result)
        with elfcore.Core(self.path('part')) as core:
            self.assertEqual(core.ranges(), [(0x40000, 0x41000)])

    def test_in_the_background(self):
        rsp = self.rsp(self.target)
        text, end = rsp.monitor('dump-guest-memory -d %s' % self.path('back'))
        self.assertEqual(end, 'OK', text)
        harness.wait_for(lambda: 'completed' in rsp.monitor('info dump')[0], 30, 'dump in the background')
        self.assertTrue(rsp.read(pattern.GVA_DATA, 8))
        rsp.detach()
        self.assertTrue(filecmp.cmp(self.path('back'), self.path('reference'), shallow=False))

    def test_console_pmemsave_and_memsave(self):
        hva = self.target.slots()[0]['hva']
        self.check_ok(self.console(
            self.target, 'pmemsave 0x%x 0x3000 %s' % (pattern.GPA_DATA, self.path('p')),
            'memsave 0x%x 0x2000 %s' % (pattern.GVA_DATA, self.path('v'))))
        want = self.target.peek(hva + pattern.GPA_DATA, 0x3000)
        with open(self.path('p'), 'rb') as p, open(self.path('v'), 'rb') as v:
            self.assertEqual(p.read(), want)
            self.assertEqual(v.read(), want[0x1000:0x2000] + want[:0x1000])


CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 19, 21, 38, 39
PR_CAPBSET_DROP = 24
CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x44000


def become(hide=None, files=None, without=()):
    """
    For a child of root's before it is another program: with an empty directory, or
    with these files, in the place of one, and without these capabilities.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def check(status):
        if status:
            raise OSError(ctypes.get_errno(), 'become')

    if hide:
        check(libc.unshare(CLONE_NEWNS))
        check(libc.mount(b'none', b'/', None, ctypes.c_ulong(MS_REC_PRIVATE), None))
        check(libc.mount(b'none', hide.encode(), b'tmpfs', ctypes.c_ulong(0), None))
    for name, text in (files or {}).items():
        with open(os.path.join(hide, name), 'w') as f:
            f.write(text)
    for capability in without:
        check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))


class TestRefusals(DumpCase):
    def refuse(self, status, target, out, *patterns, options=(), **kw):
        self.check_error(self.run_server('dump', '-q', *options, *harness.target_of(target), out, **kw), status,
                         *patterns)

    def test_ranges(self):
        vmm = self.vmm()
        out = self.path('out')
        for options, status in (
                (('--begin', '0x1000'), 2),
                (('--length', '0x1000'), 2),
                (('--begin', '0', '--length', '0'), 2),
                (('--begin', '0xfffffffffffff000', '--length', '0x1001'), 2),
                (('--begin', '12monkeys', '--length', '1'), 2),
                (('--begin', '-1', '--length', '1'), 2),
                (('--begin', hex(pattern.RAM_BYTES), '--length', '0x1000'), 1),
                (('--begin', hex(pattern.GPA_HIGH + pattern.HIGH_BYTES), '--length', hex(1 << 40)), 1)):
            with self.subTest(options=options):
                self.refuse(status, vmm, out, options=options)
                self.nothing_left(self.dir)
        vmm.counts_on()

    def test_nothing_to_attach_to(self):
        self.refuse(1, 99999999, self.path('out'), '99999999')
        sleeper = subprocess.Popen(['sleep', '1000'])
        self.addCleanup(harness._end, sleeper)
        self.refuse(1, sleeper.pid, self.path('out'), r'\b%d runs no KVM guest' % sleeper.pid)
        self.nothing_left(self.dir)

    def test_no_permission(self):
        vmm = self.vmm()
        os.chmod(self.dir, 0o777)

        def become_nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        self.refuse(1, vmm, self.path('out'), 'CAP_|capabilit|[Pp]ermission|permitted', preexec_fn=become_nobody)
        self.nothing_left(self.dir)
        vmm.counts_on()

    def refuse_as(self, pattern, **kw):
        """Of a child that becomes something else first."""
        vmm = self.vmm()
        self.refuse(1, vmm, self.path('out'), pattern, preexec_fn=functools.partial(become, **kw))
        self.nothing_left(self.dir)
        vmm.counts_on()

    def test_no_ptrace(self):
        self.refuse_as('CAP_SYS_PTRACE', without=[CAP_SYS_PTRACE])

    def test_no_bpf(self):
        self.refuse_as('CAP_BPF and CAP_PERFMON', without=[CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF])

    def test_locked_down(self):
        """A kernel that says so, and refuses BPF."""
        self.refuse_as('locked down.*lockdown=integrity', hide='/sys/kernel/security',
                       files={'lockdown': 'none integrity [confidentiality]\n'},
                       without=[CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF])

    def test_no_btf(self):
        self.refuse_as('no BTF.*CONFIG_DEBUG_INFO_BTF', hide='/sys/kernel/btf')

    def test_already_traced(self):
        vmm = self.vmm()
        tracer = harness.Tracer(vmm.vms[0]['vcpus'][0]['tid'])
        self.addCleanup(tracer.close)
        self.refuse(1, vmm, self.path('out'), r'traced.*\b%d\b|\b%d\b.*trac' % (tracer.pid, tracer.pid))
        self.nothing_left(self.dir)

    def test_no_memory_and_no_vcpu(self):
        for options, word in ((('--no-memory',), 'memory'), (('--cpus', '0'), 'vCPU')):
            with self.subTest(options=options):
                vmm = self.vmm(*options)
                self.refuse(1, vmm, self.path('out'), word)
                self.nothing_left(self.dir)
                vmm.check_alive()

    def test_no_such_vm(self):
        self.refuse(1, self.vmm(), self.path('out'), options=('--vm', '3'))

    def test_outputs(self):
        vmm = self.vmm()
        os.mkdir(self.path('directory'))
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.bind(self.path('socket'))
        files = [self.path(name) for name in ('directory', 'socket', 'no/such/directory')]
        for out in files + ['fd:77', 'fd:x', 'fd:', 'fd:99999999999']:
            with self.subTest(out=out):
                result = self.run_server('dump', '-q', *harness.target_of(vmm), out)
                self.assertIn(result.status, (1, 2))
                self.check_error(result, result.status)
        self.nothing_left(self.dir, 'directory', 'socket')
        self.assertEqual(os.listdir(self.path('directory')), [])
        vmm.counts_on()

    def test_descriptor_of_our_own(self):
        """fd:N is one that was inherited; whatever we open ourselves is not to be had."""
        vmm = self.vmm()
        for fd in range(3, 20):
            self.refuse(1, vmm, 'fd:%d' % fd, 'fd:%d|descriptor' % fd)

    def test_descriptor_that_cannot_be_written(self):
        vmm = self.vmm()
        fd = os.open('/dev/null', os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.refuse(1, vmm, 'fd:%d' % fd, pass_fds=[fd])
        vmm.counts_on()

    def test_old_file_stays(self):
        """Nothing is lost when the dump cannot even begin."""
        vmm = self.vmm()
        path = self.path('old')
        with open(path, 'w') as f:
            f.write('precious')
        self.refuse(1, vmm, path, options=('--begin', hex(pattern.RAM_BYTES), '--length', '0x1000'))
        with open(path) as f:
            self.assertEqual(f.read(), 'precious')
        self.nothing_left(self.dir, 'old')


class TestBadCores(DumpCase):
    """No VM is needed for these: a core is made here, byte by byte."""

    def make(self, name='core', machine=elfcore.EM_X86_64, kind=4, phnum=2, load=b'\x5a' * 8192, notes=None):
        note = notes if notes is not None else struct.pack('<III', 5, 336, 1) + b'CORE\0\0\0\0' + bytes(336)
        head = b'\x7fELF\x02\x01\x01' + bytes(9) + struct.pack(
            '<HHIQQQIHHHHHH', kind, machine, 1, 0, 64, 0, 0, 64, 56, phnum, 0, 0, 0)
        phs = struct.pack('<IIQQQQQQ', 4, 0, 176, 0, 0, len(note), len(note), 4)
        phs += struct.pack('<IIQQQQQQ', 1, 7, 4096, 0, 0x100000, 8192, 8192, 4096)
        with open(self.path(name), 'wb') as f:
            f.write((head + phs + note).ljust(4096, b'\0') + load)
        return self.path(name)

    def refuse(self, path, *patterns):
        self.check_error(self.run_server('dump', '-q', '--core', path, self.path('out')), 1, *patterns)
        self.assertFalse(os.path.exists(self.path('out')))

    def test_good_one(self):
        """So that the others fail for their fault alone."""
        self.dump(self.make(), self.path('out'))
        with elfcore.Core(self.path('out')) as core:
            self.assertEqual(core.read_phys(0x100000, 8192), b'\x5a' * 8192)

    def test_unsupported_architecture(self):
        self.refuse(self.make(machine=40), 'architecture|machine')

    def test_no_core(self):
        self.refuse(self.make(kind=2))
        self.refuse('/bin/true')

    def test_garbage(self):
        for name, data in (('empty', b''), ('text', b'hello, world\n' * 1000), ('magic', b'\x7fELF'),
                           ('random', os.urandom(100000))):
            with open(self.path(name), 'wb') as f:
                f.write(data)
            self.refuse(self.path(name), name)

    def test_truncated(self):
        path = self.make()
        for size in (20, 64, 100, 170, 300, 4096, 8000):
            with self.subTest(size=size):
                self.make()
                os.truncate(path, size)
                self.refuse(path)

    def test_no_vcpu_and_no_memory(self):
        self.refuse(self.make(notes=b''), 'vCPU|CPU')
        self.refuse(self.make(phnum=1), 'memory')

    def test_note_that_lies(self):
        self.refuse(self.make(notes=struct.pack('<III', 5, 0xfffffff0, 1) + b'CORE\0\0\0\0' + bytes(336)))
        self.refuse(self.make(notes=struct.pack('<III', 0xffffffff, 336, 1) + b'CORE\0\0\0\0' + bytes(336)))

    def test_no_such_file(self):
        self.refuse(self.path('nothing'), 'nothing', 'No such file')
        self.refuse(self.dir)
