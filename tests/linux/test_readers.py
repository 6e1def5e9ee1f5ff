# SPDX-License-Identifier: GPL-3.0-or-later
"""The vmcores of real Linux guests: who reads them, what QEMU's own have wrong, and that we open all of them."""

import filecmp
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

import elfcore
import guests
import harness
import readers

NT_PRSTATUS, NT_FPREGSET, NT_PPC_VMX, NT_PPC_VSX = 1, 2, 0x100, 0x102
PPC_MSR_OFFSET = 112 + 33 * 8
PPC_DAR_OFFSET = 112 + 41 * 8
PPC_VRSAVE_OFFSET = 33 * 16
PPC_MSR_LE = 1
PSW_PROBLEM_STATE = 1 << 48
ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB = 2, 1, 2
EF_PPC64_ABI = 3
EHDR64_SIZE = 64


class VmcoreCase(guests.GuestCase):
    """One stopped guest and its cores, each made by the first test that asks for it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stop_guest()
        cls.cores = tempfile.mkdtemp(prefix='vmgdb-cores-')
        cls.addClassCleanup(shutil.rmtree, cls.cores)
        cls.live_cache = None

    @classmethod
    def stop_guest(cls):
        cls.guest.stop()

    def setUp(self):
        super().setUp()
        self.target = ('--qmp', self.guest.qmp_path)

    def _core(self, name, make):
        path = os.path.join(self.cores, name)
        if not os.path.exists(path):
            make(path)
        return path

    def ours(self):
        return self._core('ours', lambda path: self.dump(self.target, path))

    def ours_paging(self):
        return self._core('ours-p', lambda path: self.dump(self.target, path, '-p'))

    def qemus(self):
        return self._core('qemus', self.guest.dump)

    def qemus_paging(self):
        return self._core('qemus-p', lambda path: self.guest.qmp(
            'dump-guest-memory', paging=True, protocol='file:' + path))

    def live(self):
        """The registers of each vCPU as gdb shows them through us."""
        if self.live_cache is None:
            type(self).live_cache = readers.live_registers(self, self.target, self.guest)
        return self.live_cache


def prstatus(path):
    """The descriptors of all PRSTATUS notes, and the byte order of the file."""
    with elfcore.Core(path) as core:
        return core.notes_of('CORE', NT_PRSTATUS), core.order


def pids(path, offset=32):
    descs, order = prstatus(path)
    return [struct.unpack_from(order + 'I', desc, offset)[0] for desc in descs]


class ReaderTests:
    """Each reader takes the core without help and without a warning, and shows what the guest has."""

    def in_kernel(self, cpu):
        return int(cpu[self.stack_pointer], 16) >= self.kernel_start

    def check(self, reader):
        for name, path in (('kernel', self.ours()), ('paging', self.ours_paging())):
            with self.subTest(map=name):
                reader(self, path, self.guest, self.live())

    def test_eu_readelf(self):
        self.check(readers.check_eu_readelf)

    def test_readelf(self):
        self.check(readers.check_readelf)

    def test_gdb(self):
        self.check(readers.check_gdb)

    def test_libkdumpfile(self):
        self.check(readers.check_libkdumpfile)

    def test_libkdumpfile_translates(self):
        """Addresses that only the page tables know, which it finds by the core's own VMCOREINFO."""
        stacks = [int(cpu[self.stack_pointer], 16) & ~0xf for cpu in self.live() if self.in_kernel(cpu)]
        addresses = [self.guest.symbols['_stext'], *stacks]
        found = readers.kdumpfile(self, self.ours(), *addresses)
        for address, data in zip(addresses, found['memory']):
            self.assertEqual(bytes.fromhex(data), self.guest.memsave(address, 16), hex(address))

    def test_drgn(self):
        self.check(readers.check_drgn)


class DebuginfoTests:
    """What the readers do with the kernel's debug information."""

    def test_drgn_tasks(self):
        if not self.guest.vmlinux:
            self.skipTest('no debug information: make check-linux DEBUGINFO=1')
        self.check(readers.check_drgn_tasks)


class QemuFaults:
    """What QEMU 7.2's own core of the same guest has wrong, and ours has not."""

    def test_qemu_ehsize(self):
        """makedumpfile finds no program headers by it."""
        for path, size in ((self.qemus(), 8), (self.ours(), EHDR64_SIZE)):
            with elfcore.Core(path) as core:
                self.assertEqual(core.ehsize, size)

    def test_qemu_has_no_vmcoreinfo(self):
        for path, count in ((self.qemus(), 0), (self.ours(), 1)):
            with elfcore.Core(path) as core:
                self.assertEqual(len(core.notes_of('VMCOREINFO', 0)), count)

    def test_qemu_pids_are_of_others(self):
        """Its pids are those of tasks that ran elsewhere, or the same ones twice, or of the wrong byte order."""
        self.assertEqual(pids(self.qemus()), self.qemu_pids)
        ours = pids(self.ours())
        self.assertEqual(len(set(ours)), self.guest.n_cpus)
        self.assertNotIn(0, ours)
        self.assertNotEqual(ours, self.qemu_pids)

    def test_qemu_section_header(self):
        """Its string table is not in the byte order of a big-endian file; ours has no sections."""
        if not self.qemu_swaps_sections:
            done = subprocess.run(['readelf', '-h', '-S', '-W', self.qemus()], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
            self.assertIn('past end of file', done.stderr)
        with elfcore.Core(self.ours()) as core:
            self.assertEqual((core.shoff, core.shnum), (0, 0))


class CoreTests:
    """The core backend: gdb sees in each file what it sees in the guest."""

    # Registers that QEMU's notes have a place for, and other values in.
    qemu_is_wrong = ()

    def check_serves(self, path, but=()):
        words = readers.remote(path, readers.LITTLE_ENDIAN[self.guest.arch])
        found = readers.registers_of_threads(self, self.guest.n_cpus, *words)
        readers.check_registers(self, found, self.live(), [*but, *readers.GDB_DIFFERS[self.guest.arch]])
        self.check_memory(path)

    def check_memory(self, path):
        rsp = self.rsp(path)
        start = self.guest.symbols['linux_banner']
        self.assertEqual(rsp.read(start, 64), self.guest.memsave(start, 64))
        self.assertEqual(rsp.physical(), 'OK')
        address, size = self.guest.vmcoreinfo
        self.assertEqual(rsp.read(address, size), self.guest.pmemsave(address, size))
        self.assertEqual(rsp.detach(), 'OK')

    def test_core_ours(self):
        self.check_serves(self.ours())

    def test_core_ours_paging(self):
        self.check_serves(self.ours_paging())

    def test_core_qemus(self):
        self.check_serves(self.qemus(), self.qemu_is_wrong)

    def test_core_qemus_paging(self):
        self.check_serves(self.qemus_paging(), self.qemu_is_wrong)

    def test_core_dumps_itself(self):
        again = self.path('again')
        self.dump(self.ours(), again)
        self.assertTrue(filecmp.cmp(self.ours(), again, shallow=False))

    def test_core_dumps_itself_paging(self):
        again = self.path('again')
        self.dump(self.ours_paging(), again, '-p')
        self.assertTrue(filecmp.cmp(self.ours_paging(), again, shallow=False))


class Amd64(ReaderTests, QemuFaults, CoreTests):
    # Bits of a descriptor's base and limit are left in its attributes.
    qemu_is_wrong = ['%s_attr' % name for name in 'cs ds es fs gs ss ldtr tr'.split()]
    stack_pointer = 'rsp'
    kernel_start = 0xff00000000000000
    qemu_pids = [1, 2]
    qemu_swaps_sections = True

    def test_makedumpfile(self):
        self.check(readers.check_makedumpfile)

    def test_core_makedumpfiles(self):
        self.check_serves(self._core('makedumpfiles', self._filter))

    def _filter(self, path):
        harness.require_program('makedumpfile')
        # It warns of the bitmap's end, where RAM ends at 4 GiB.
        subprocess.run(['makedumpfile', '--message-level', '0', '-E', '-d', '31', self.ours(), path], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_qemu_orig_rax_is_a_system_call(self):
        """0 is read(); -1 says that none was being made."""
        for path, value in ((self.qemus(), 0), (self.ours(), (1 << 64) - 1)):
            with elfcore.Core(path) as core:
                self.assertEqual([cpu['orig_rax'] for cpu in core.prstatus()], [value] * self.guest.n_cpus)

    def test_qemu_has_no_fp_registers(self):
        for path, count in ((self.qemus(), 0), (self.ours(), self.guest.n_cpus)):
            with elfcore.Core(path) as core:
                self.assertEqual(len(core.notes_of('CORE', NT_FPREGSET)), count)


class TestAmd64(Amd64, VmcoreCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64')


class TestAmd64Nokaslr(Amd64, VmcoreCase):
    """Four levels of page tables, and both vCPUs busy in user space and in the kernel."""

    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64', append='nokaslr spin=2', cpu='qemu64')


class GenericKernel:
    """Another kernel: crash 8.0 unwinds no vCPU of one without machine checks, such as Debian's cloud kernel."""

    @classmethod
    def make_guest(cls):
        if not os.path.exists(os.path.join(guests.CACHE, 'amd64-generic')):
            raise unittest.SkipTest('no debug information: make check-linux DEBUGINFO=1')
        return guests.Linux('amd64', kernel='amd64-generic')

    @classmethod
    def stop_guest(cls):
        """While no vCPU runs a task: crash 8.0 finds none of this kernel's, and warns of those that run."""
        cls.guest.stop_idle()


class TestAmd64Debuginfo(GenericKernel, DebuginfoTests, VmcoreCase):
    check = ReaderTests.check

    def test_crash(self):
        self.check(readers.check_crash)


class TestS390x(ReaderTests, DebuginfoTests, QemuFaults, CoreTests, VmcoreCase):
    stack_pointer = 'r15'
    qemu_pids = [1 << 24, 2 << 24]  # 1 and 2 in the byte order of the host
    qemu_swaps_sections = False

    @classmethod
    def make_guest(cls):
        return guests.Linux('s390x')

    @classmethod
    def stop_guest(cls):
        """Not between two instructions that set the condition code, which QEMU's own core has not, or a stack."""
        cls.guest.stop_idle()

    def in_kernel(self, cpu):
        """Its addresses are in a space of their own, and users have the same."""
        return not int(cpu['pswm'], 16) & PSW_PROBLEM_STATE


class TestPpc64el(ReaderTests, DebuginfoTests, QemuFaults, CoreTests, VmcoreCase):
    qemu_is_wrong = 'dar', 'dsisr', 'vrsave'
    stack_pointer = 'r1'
    kernel_start = 0xc << 60
    qemu_pids = [0, 0]
    qemu_swaps_sections = False

    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el')

    def test_qemu_byte_order(self):
        """The guest runs little-endian; QEMU says it is big-endian."""
        for path, data in ((self.qemus(), ELFDATA2MSB), (self.ours(), ELFDATA2LSB)):
            with open(path, 'rb') as f:
                self.assertEqual(f.read(6), b'\x7fELF' + bytes([ELFCLASS64, data]))

    def test_qemu_vector_notes_have_the_wrong_owner(self):
        """Readers look for them under LINUX."""
        for path, owner, other in ((self.qemus(), 'CORE', 'LINUX'), (self.ours(), 'LINUX', 'CORE')):
            with elfcore.Core(path) as core:
                for kind in (NT_PPC_VMX, NT_PPC_VSX):
                    self.assertEqual(len(core.notes_of(owner, kind)), self.guest.n_cpus)
                    self.assertEqual(core.notes_of(other, kind), [])

    def test_qemu_lacks_the_fault_address(self):
        for path, is_right in ((self.qemus(), False), (self.ours(), True)):
            descs, order = prstatus(path)
            expected = [int(cpu['dar'], 16) if is_right else 0 for cpu in self.live()]
            self.assertEqual([struct.unpack_from(order + 'Q', desc, PPC_DAR_OFFSET)[0] for desc in descs], expected)

    def test_qemu_lacks_vrsave(self):
        for path, owner, is_right in ((self.qemus(), 'CORE', False), (self.ours(), 'LINUX', True)):
            with elfcore.Core(path) as core:
                found = [struct.unpack_from(core.order + 'I', desc, PPC_VRSAVE_OFFSET)[0]
                         for desc in core.notes_of(owner, NT_PPC_VMX)]
            self.assertEqual(found, [int(cpu['vrsave'], 16) if is_right else 0 for cpu in self.live()])

    def test_little_endian_throughout(self):
        path = self.ours()
        with open(path, 'rb') as f:
            ehdr = f.read(EHDR64_SIZE)
        self.assertEqual(struct.unpack_from('<I', ehdr, 48)[0] & EF_PPC64_ABI, 2)
        for desc, cpu in zip(prstatus(path)[0], self.live()):
            msr, = struct.unpack_from('<Q', desc, PPC_MSR_OFFSET)
            self.assertTrue(msr & PPC_MSR_LE)
            self.assertEqual(msr, int(cpu['msr'], 16))
        self.assertIn('little endian', readers.gdb(self, '-c', path, '-ex', 'show endian'))
