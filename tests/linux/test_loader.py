# SPDX-License-Identifier: GPL-3.0-or-later
"""
Linux in KVM: the core of an emulated guest, loaded by the test VMM. What
--attach shows and dumps of it is what --qmp did of the guest itself.
"""

import filecmp
import os
import struct
import unittest

import elfcore
import guests
import harness
import readers

# Four levels of page tables and no protection keys: what any KVM has that has AVX.
CPU = 'max,la57=off,pku=off'

# How the VMM sits with it: never in KVM_RUN, asleep in there, or in and out all the time.
VMMS = ['--paused'], ['--paused', '--shared'], ['--halt'], ['--halt', '--shared'], [], ['--shared']

# Offsets in QEMU's note, and bits of what it has at a segment's attributes.
QEMU_CR4_AT, QEMU_TR_ATTR_AT = 424, 328
ATTRIBUTES, TR_BUSY = 0xf0ff00, 0x200

# What the hardware decides, by a note's size: offset, bytes and bits. VT-x and SVM set TR's busy
# bit; AMD's FXSAVE keeps fop, fip and fdp only while an x87 exception is pending.
HARDWARE_DECIDES = {440: [(QEMU_TR_ATTR_AT, 4, TR_BUSY)], 512: [(6, 18, -1)], 832: [(6, 18, -1)]}

READERS = [*readers.ANY_ARCH, readers.check_makedumpfile]

# The task priority, of which no note tells.
NOT_LOADED = {'cr8'}


def portable(note):
    """Its owner, type and contents without what the hardware decides."""
    desc = bytearray(note.desc)
    for at, size, bits in HARDWARE_DECIDES.get(len(desc), ()):
        value = int.from_bytes(desc[at:at + size], 'little')
        desc[at:at + size] = (value & ~bits).to_bytes(size, 'little')
    return note.owner, note.type, desc.hex()


def attributes_alone(cpu):
    """A segment's, of which QEMU has the descriptor's limit bits too."""
    masks = {name: ATTRIBUTES for name in cpu if name.endswith('_attr')}
    masks['tr_attr'] ^= TR_BUSY
    return {name: hex(value & masks.get(name, ~0)) for name, value in cpu.items()}


def loads(core):
    return [(l.vaddr, l.paddr, l.offset, l.filesz, l.memsz) for l in core.loads]


class LoaderCase(guests.GuestCase):
    kernel = 'amd64'
    append = ''
    options = ()

    @classmethod
    def make_guest(cls):
        harness.require_kvm()
        return guests.Linux('amd64', kernel=cls.kernel, cpu=CPU, append=cls.append, options=cls.options)

    def setUp(self):
        super().setUp()
        self.guest.stop()

    def vmm(self, *options):
        """CPU is chosen such that CI's KVM takes it."""
        try:
            return super().vmm(*options)
        except unittest.SkipTest as e:
            if os.environ.get('REQUIRE_KVM') == '1':
                self.fail('REQUIRE_KVM=1, but ' + str(e))
            raise

    def core(self, *options):
        path = self.path('core')
        self.dump(('--qmp', self.guest.qmp_path), path, *options)
        return path

    def check_same(self, ours, theirs):
        with elfcore.Core(ours) as a, elfcore.Core(theirs) as b:
            self.assertEqual(loads(a), loads(b))
            self.assertEqual([portable(n) for n in a.notes], [portable(n) for n in b.notes])
            self.assertIsNone(elfcore.first_difference(a, b))
            same_notes = [n.desc for n in a.notes] == [n.desc for n in b.notes]
        self.assertEqual(filecmp.cmp(ours, theirs, shallow=False), same_notes)

    def check_dump(self, core, words, *options):
        """Of a VMM with this core and these options; it is as it was before."""
        attached = self.path('attached')
        with self.subTest(vmm=words, dump=options):
            vmm = self.vmm('--core', core, *words)
            look = harness.Look(vmm.pid)
            self.dump(vmm, attached, *options)
            self.check_same(attached, core)
            look.check_same(self)
            if vmm.work == 'spin' and '--paused' not in words:
                vmm.counts_on()
            vmm.check_alive()
            vmm.close()
        return attached

    def check_readers(self, checks, *options):
        """What these readers make of a dump with these options."""
        vmm = self.vmm('--core', self.core())
        attached = self.path('attached')
        live = readers.live_registers(self, vmm, self.guest)
        self.dump(vmm, attached, *options)
        for check in checks:
            with self.subTest(reader=check.__name__):
                check(self, attached, self.guest, live)


class LoaderTests:
    def test_dump(self):
        core = self.core()
        for words in VMMS:
            self.check_dump(core, words)

    def test_dump_of_all_mappings(self):
        core = self.core('-p')
        self.check_dump(core, ['--shared', '--halt'], '-p')
        self.check_dump(core, [], '-p')

    def test_kernel(self):
        """The other side's kernel, as the guest itself tells of it."""
        with elfcore.Core(self.check_dump(self.core(), ['--halt'])) as core:
            note, = core.notes_of('VMCOREINFO', 0)
            self.assertEqual(dict(l.split('=', 1) for l in note.decode().splitlines()),
                             self.guest.vmcoreinfo_values())
            text = self.guest.symbols['_stext']
            image, = [l for l in core.loads if l.vaddr <= text < l.vaddr + l.memsz]
            self.assertEqual(core.read_phys(image.paddr + text - image.vaddr, 4096),
                             self.guest.memsave(text, 4096))
            self.assertEqual(len(core.prstatus()), self.guest.n_cpus)

    def test_gdb(self):
        vmm = self.vmm('--core', self.core())
        said = readers.gdb(self, *readers.remote(vmm), *readers.gdb_commands([
            'x/s %#x' % self.guest.symbols['linux_banner'], 'info threads']))
        self.assertIn('"' + readers.banner(self.guest), said)
        self.assertEqual(said.count('vCPU'), self.guest.n_cpus)
        vmm.counts_on()

    def test_registers(self):
        vmm = self.vmm('--core', self.core(), '--halt')
        ours = readers.live_registers(self, vmm, self.guest)
        theirs = readers.live_registers(self, ('--qmp', self.guest.qmp_path), self.guest)
        readers.check_registers(self, theirs, ours, NOT_LOADED)

    def test_readers(self):
        self.check_readers(READERS)

    def test_readers_of_all_mappings(self):
        self.check_readers(READERS, '-p')


class TestIdle(LoaderTests, LoaderCase):
    """Address space randomised, both vCPUs halted in the kernel."""

    def test_a_core_of_qemus_own(self):
        theirs, ours = self.path('theirs'), self.path('ours')
        self.guest.dump(theirs)
        self.dump(self.vmm('--core', theirs), ours)
        with elfcore.Core(ours) as a, elfcore.Core(theirs) as b:
            self.assertIsNone(elfcore.first_difference(a, b))
            self.assertEqual([attributes_alone(cpu) for cpu in a.qemu_states()],
                             [attributes_alone(cpu) for cpu in b.qemu_states()])

    def test_registers_that_kvm_refuses(self):
        core = self.core()
        with open(core, 'r+b') as f, elfcore.Core(core) as parsed:
            at = f.read(65536).index(parsed.notes_of('QEMU', 0)[1]) + QEMU_CR4_AT
            f.seek(at)
            f.write(struct.pack('<Q', 1 << 63 | 0x6f0))
        with self.assertRaisesRegex(unittest.SkipTest, 'KVM_SET_SREGS of vCPU 1 .* cr4 0x80000000000006f0,'):
            harness.TestVmm('--core', core)


class TestBusy(LoaderTests, LoaderCase):
    """At its place, with tasks on both vCPUs, and a display that makes holes in RAM and a block of its own."""

    append = 'nokaslr spin=2'
    options = '-vga', 'std'


class TestDebuginfo(LoaderCase):
    kernel = 'amd64-generic'

    @classmethod
    def make_guest(cls):
        if not os.path.exists(os.path.join(guests.CACHE, cls.kernel, 'vmlinux')):
            raise unittest.SkipTest('no debug information: make check-linux DEBUGINFO=1')
        return super().make_guest()

    def test_readers(self):
        self.check_readers([readers.check_drgn_tasks, readers.check_crash])
