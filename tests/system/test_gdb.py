# SPDX-License-Identifier: GPL-3.0-or-later
"""Real gdb on a live guest: registers, memory, writing, and letting go."""

import os
import re

import harness
import pattern

# Where gdb shows the register's bits. It hides ymmNh, the upper half, behind ymmN.
EXPRESSIONS = [(re.compile(r'^xmm(\d+)$'), r'$xmm\1.uint128'), (re.compile(r'^ymm(\d+)h$'), r'$ymm\1.v2_int128[1]')]


def expression(name):
    for form, text in EXPRESSIONS:
        if form.match(name):
            return form.sub(text, name)
    return '$' + name


def ask_registers(names, n_cpus):
    """gdb commands that print each register of each vCPU on a line of its own."""
    commands = []
    for cpu in range(n_cpus):
        commands.append('thread %d' % (cpu + 1))
        for name in names:
            commands += ['echo \\n@%d %s=' % (cpu, name), 'output/x ' + expression(name), 'echo \\n']
    return commands


def answers(out):
    """{(cpu, name): value} of the lines that ask_registers() made."""
    found = {}
    for cpu, name, text in re.findall(r'^@(\d+) (\w+)=(.*)$', out, re.M):
        try:
            found[int(cpu), name] = int(text, 16)
        except ValueError:
            found[int(cpu), name] = text
    return found


def shown(answer):
    return hex(answer) if isinstance(answer, int) else answer


def memory_lines(out):
    """The words that x/gx printed, by address."""
    words = {}
    for address, rest in re.findall(r'^(0x[0-9a-f]+)(?: <[^>]*>)?:\t(.*)$', out, re.M):
        for n, word in enumerate(re.findall(r'(?:^|\t)(0x[0-9a-f]{16})', rest)):
            words[int(address, 16) + 8 * n] = int(word, 16)
    return words


class TestRegisters(harness.Case):
    def check(self, *options):
        vmm = self.vmm(*options)
        cpus = range(len(vmm.vms[0]['vcpus']))
        want = {(c, n): v for c in cpus for n, v in
                pattern.registers(vmm.mode, 0, c, vmm.work, vmm.missing(c)).items()}
        out = self.gdb(vmm, *ask_registers(sorted({n for _, n in want}), len(cpus)), 'detach')
        got = answers(out)
        for key in sorted(want):
            if key[1] == 'eflags' and isinstance(got.get(key), int):
                got[key] &= ~pattern.EFLAGS_ARITHMETIC
            self.assertIn(key, got, out[-2000:])
            self.assertEqual(shown(got[key]), hex(want[key]), '%s of vCPU %d' % (key[1], key[0]))
        return vmm

    def test_long(self):
        self.check().counts_on()

    def test_long_four_cpus(self):
        self.check('--cpus', '4').counts_on()

    def test_16(self):
        self.check('--mode', '16').counts_on()

    def test_flat(self):
        self.check('--mode', 'flat').counts_on()

    def test_32(self):
        self.check('--mode', '32').counts_on()

    def test_pae(self):
        self.check('--mode', 'pae').counts_on()

    def test_pio(self):
        self.check('--pio').counts_on()

    def test_mmio(self):
        self.check('--mmio').counts_on()

    def test_halted(self):
        vmm = self.check('--halt')
        self.assertEqual(vmm.counters(), [1, 1], 'a halted vCPU sleeps on')

    def test_paused(self):
        vmm = self.check('--paused')
        self.assertEqual(vmm.counters(), [0, 0])
        vmm.command('run')
        vmm.counts_on()

    def test_rip_is_in_the_loop(self):
        vmm = self.vmm()
        got = answers(self.gdb(vmm, *ask_registers(['rip'], 2), 'detach'))
        for cpu in range(2):
            self.assertIn(got[cpu, 'rip'], range(pattern.GVA_CODE, pattern.GVA_CODE + 16))


class TestMemory(harness.Case):
    def test_through_page_tables(self):
        vmm = self.vmm()
        places = {  # gva: gpa
            pattern.GVA_DATA: pattern.GPA_DATA + 0x1000,
            pattern.GVA_DATA + 0x1000: pattern.GPA_DATA,
            pattern.GVA_DATA + 0xff8: pattern.GPA_DATA + 0x1ff8,
            pattern.GVA_LARGE + 0x1ff000: pattern.GPA_LARGE + 0x1ff000,
            pattern.GVA_HUGE + pattern.GPA_DATA + 8: pattern.GPA_DATA + 8,
            pattern.GVA_DIRECT + 0x1235560: 0x1235560,
            pattern.GVA_DIRECT + pattern.GPA_HIGH + 0x5678: pattern.GPA_HIGH + 0x5678,
            pattern.GVA_LAST + 0xff0: pattern.GPA_DATA + 0x2ff0,
        }
        out = self.gdb(vmm, *('x/gx %#x' % gva for gva in places), 'detach')
        words = memory_lines(out)
        for gva, gpa in places.items():
            block = pattern.GPA_HIGH if gpa >= pattern.GPA_HIGH else 0
            if gpa // pattern.PAGE * pattern.PAGE not in range(pattern.GPA_DATA, pattern.GPA_DATA + 0x3000):
                self.assertTrue(pattern.touched((gpa - block) // pattern.PAGE), hex(gpa))
            self.assertEqual(words.get(gva), pattern.word(0, gpa), '%#x in %s' % (gva, out))

    def test_each_cpu_has_its_own_tables(self):
        vmm = self.vmm()
        out = self.gdb(vmm, 'thread 1', 'x/gx %#x' % pattern.GVA_CPU, 'thread 2', 'x/gx %#x' % (pattern.GVA_CPU + 8),
                       'detach')
        words = memory_lines(out)
        self.assertEqual(words.get(pattern.GVA_CPU), pattern.word(0, pattern.GPA_CPU), out)
        self.assertEqual(words.get(pattern.GVA_CPU + 8), pattern.word(0, pattern.GPA_CPU + 0x1008), out)

    def test_read_across_the_end_of_a_page(self):
        """The words before the page that is not there are shown."""
        vmm = self.vmm()
        end = pattern.GVA_DATA + 0x2000
        out = self.gdb(vmm, 'x/4gx %#x' % (end - 16), 'detach')
        words = memory_lines(out)
        self.assertEqual(words.get(end - 16), pattern.word(0, pattern.GPA_DATA + 0xff0), out)
        self.assertEqual(words.get(end - 8), pattern.word(0, pattern.GPA_DATA + 0xff8), out)
        self.assertIn('Cannot access memory at address %#x' % end, out)

    def test_large_read(self):
        vmm = self.vmm()
        path = self.path('memory')
        base = pattern.GVA_DIRECT + 0x800000
        self.gdb(vmm, 'dump binary memory %s %#x %#x' % (path, base, base + 0x100000), 'detach')
        with open(path, 'rb') as f:
            data = f.read()
        self.assertEqual(len(data), 0x100000)
        for at in range(0, len(data), pattern.PAGE):
            gpa = 0x800000 + at
            want = pattern.page(0, gpa) if pattern.touched(gpa // pattern.PAGE) else bytes(pattern.PAGE)
            self.assertEqual(data[at:at + pattern.PAGE], want, hex(gpa))

    def test_the_counter_stands_still_and_goes_on(self):
        vmm = self.vmm()
        at = pattern.GVA_CODE + pattern.COUNTER_OFFSET
        out = self.gdb(vmm, 'output/x *(long long *)%#x' % at, 'echo \\n', 'shell sleep 0.5',
                       'maintenance flush dcache', 'output/x *(long long *)%#x' % at, 'echo \\n', 'detach')
        seen = re.findall(r'^0x[0-9a-f]+$', out, re.M)
        self.assertEqual(len(seen), 2, out)
        self.assertEqual(seen[0], seen[1])
        vmm.counts_on()


class TestWriting(harness.Case):
    NEW = {'rbx': 0x1122334455667788, 'r15': 0xfedcba9876543210, 'fs_base': 0xffff800012345678,
           'k_gs_base': 0xffff800087654321, 'cr2': 0xffff8000deadbeef, 'lstar': 0xffff800011112222}

    def check_registers(self, *options):
        vmm = self.vmm(*options)
        out = self.gdb(vmm, 'thread 2', *('set var $%s = %#x' % i for i in self.NEW.items()),
                       'set var $xmm3.v2_int64[0] = 0x1234567812345678',
                       'set var $eflags = $eflags | 0x1',
                       'maintenance flush register-cache', 'thread 2', *ask_registers(self.NEW, 2), 'detach')
        got = answers(out)
        for name, value in self.NEW.items():
            self.assertEqual(got.get((1, name)), value, '%s in %s' % (name, out))
            self.assertEqual(got.get((0, name)), pattern.registers(vmm.mode, 0, 0)[name], 'vCPU 0 ' + name)
        return vmm

    def check_kvm_has_them(self, vmm):
        """The VMM's own look at its vCPU."""
        vmm.command('pause')
        regs = {pattern.GDB_NAMES.get(k, k): int(v, 16) for k, v in vmm.command('regs 0 1').items()}
        for name, value in self.NEW.items():
            self.assertEqual(hex(regs[name]), hex(value), name)
        self.assertEqual(regs['xmm3'] & (1 << 64) - 1, 0x1234567812345678)
        self.assertEqual(regs['xmm3'] >> 64, pattern.value('H', 0, 1, 3), 'the other half')
        want = pattern.registers(vmm.mode, 0, 1, vmm.work, vmm.missing(1))
        for name in set(want) - set(self.NEW) - {'xmm3', 'eflags', 'ftag'}:
            if name in regs:
                self.assertEqual(hex(regs[name]), hex(want[name]), name + ' stays')
        vmm.command('run')

    def test_registers(self):
        vmm = self.check_registers()
        vmm.counts_on()
        self.check_kvm_has_them(vmm)
        vmm.counts_on()

    def test_registers_while_paused(self):
        vmm = self.check_registers('--paused')
        self.check_kvm_has_them(vmm)
        vmm.counts_on()

    def test_registers_in_the_middle_of_input(self):
        vmm = self.check_registers('--pio')
        vmm.counts_on()
        self.check_kvm_has_them(vmm)

    def test_memory(self):
        for options in ((), ('--shared',)):
            with self.subTest(options=options):
                vmm = self.vmm(*options)
                base = pattern.GVA_DATA + 0xff8  # crosses into a page that lies elsewhere
                out = self.gdb(vmm, 'set var {long long}%#x = 0x0102030405060708' % base,
                               'set var {long long}%#x = 0x1112131415161718' % (base + 8),
                               'maintenance flush dcache', 'x/2gx %#x' % base, 'detach')
                words = memory_lines(out)
                self.assertEqual(words.get(base), 0x0102030405060708, out)
                hva = vmm.slots()[0]['hva']
                self.assertEqual(vmm.peek(hva + pattern.GPA_DATA + 0x1ff8, 8).hex(), '0807060504030201')
                self.assertEqual(vmm.peek(hva + pattern.GPA_DATA, 8).hex(), '1817161514131211')
                vmm.counts_on()


def qemu_registers(text):
    """The registers in what QEMU's `info registers` prints of a CPU outside of long mode."""
    regs = {}
    names = {'EAX': 'rax', 'EBX': 'rbx', 'ECX': 'rcx', 'EDX': 'rdx', 'ESI': 'rsi', 'EDI': 'rdi', 'EBP': 'rbp',
             'ESP': 'rsp', 'EIP': 'rip', 'EFL': 'eflags', 'CR0': 'cr0', 'CR2': 'cr2', 'CR3': 'cr3', 'CR4': 'cr4',
             'EFER': 'efer', 'FCW': 'fctrl', 'FSW': 'fstat', 'MXCSR': 'mxcsr'}
    for name, digits in re.findall(r'\b([A-Z]+\d?)=([0-9a-f]+)\b', text):
        if name in names:
            regs[names[name]] = int(digits, 16)
    segment = r'^([CDEFGS]S|LDT|TR) *=([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]+)'
    for name, sel, base, limit in re.findall(segment, text, re.M):
        name = {'LDT': 'ldtr'}.get(name, name.lower())
        regs.update({name: int(sel, 16), name + '_base': int(base, 16), name + '_limit': int(limit, 16)})
    for name, base, limit in re.findall(r'^([GI]DT)= +([0-9a-f]+) ([0-9a-f]+)', text, re.M):
        regs.update({name.lower() + 'r_base': int(base, 16), name.lower() + 'r_limit': int(limit, 16)})
    for n, digits in re.findall(r'XMM(\d\d)=([0-9a-f ]+)', text):
        regs['xmm%d' % int(n)] = int(digits.replace(' ', ''), 16)
    return regs


class TestQemu(harness.Case):
    def test_registers(self):
        qemu = self.qemu('-smp', '2')
        qemu.stop()
        texts = qemu.hmp('info registers -a').split('CPU#')[1:]
        want = {(cpu, n): v for cpu, text in enumerate(texts) for n, v in qemu_registers(text).items()}
        self.assertGreater(len([k for k in want if k[0] == 1]), 30)
        got = answers(self.gdb(qemu, *ask_registers(sorted({n for _, n in want}), 2), 'detach'))
        for key in sorted(want):
            self.assertEqual(shown(got.get(key)), hex(want[key]), '%s of vCPU %d' % (key[1], key[0]))
        self.assertFalse(qemu.running(), 'it was stopped and stays so')
        qemu.cont()
        qemu.counts_on()

    def test_memory(self):
        qemu = self.qemu()
        qemu.stop()
        ranges = [(0, 0xa0000), (0xc0000, 0x40000), (0x100000, 0x100000), (0xff00000, 0x100000),
                  (0xfffc0000, 0x40000)]
        commands = ['dump binary memory %s %#x %#x' % (self.path('m%d' % i), gpa, gpa + size)
                    for i, (gpa, size) in enumerate(ranges)]
        out = self.gdb(qemu, 'maintenance packet Qqemu.PhyMemMode:1', *commands, 'detach')
        for i, (gpa, size) in enumerate(ranges):
            self.assertTrue(os.path.exists(self.path('m%d' % i)), out)
            with open(self.path('m%d' % i), 'rb') as f:
                got = f.read()
            want = qemu.pmemsave(gpa, size)
            self.assertTrue(got == want, 'memory at %#x differs from pmemsave' % gpa)
        qemu.cont()
        qemu.counts_on()

    def test_memory_written_is_seen_by_the_monitor(self):
        qemu = self.qemu()
        qemu.stop()
        self.gdb(qemu, 'set var {long long}0x2000000 = 0x1122334455667788', 'detach')
        self.assertIn('0x1122334455667788', qemu.hmp('xp /1gx 0x2000000'))
        qemu.cont()
        qemu.counts_on()

    def test_running_guest_goes_on(self):
        qemu = self.qemu()
        look = harness.Look(qemu.pid)
        out = self.gdb(qemu, 'info registers rip', 'detach')
        self.assertRegex(out, r'rip +0x')
        look.check_same(self, steady=False)
        self.assertTrue(qemu.running())
        qemu.counts_on()
