# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump leaves out of a Linux guest is what makedumpfile leaves out of the full one, page for page."""

import filecmp
import os
import re
import subprocess

import elfcore
import guests
import harness
import kdump
import readers
import test_readers

CACHE, PRIVATE, USER, FREE = 2, 4, 8, 16
CHUNK = 1 << 20

# Free pages are not zeros, so that one that was left out is told from one that was not.
BUSY = 'page_poison=1'
PREPARATIONS = [
    # Large pages, where there are such: of processes, and of hugetlbfs.
    'f=/sys/kernel/mm/transparent_hugepage/enabled; [ ! -e $f ] || echo always >$f',
    'echo 4 >/proc/sys/vm/nr_hugepages || true',
    '(dd if=/dev/urandom bs=24M count=1 | sleep 1000000) >/dev/null 2>&1 &',
    # Page cache, and pages that were it.
    'dd if=/dev/urandom of=/run/kept bs=1M count=20 && dd if=/dev/urandom of=/run/gone bs=1M count=60',
    'rm /run/gone',
    'until grep -q "AnonPages: *[0-9]\\{5\\}" /proc/meminfo; do sleep 1; done',
]
HARD_OFFLINE = '/sys/devices/system/memory/hard_offline_page'
BROKEN_GPA = 0x8000000

FOUND = r'pages to leave out: cache (\d+), private (\d+), user (\d+), free (\d+)'
# What makedumpfile counts, and as what we do.
COUNTED = {
    'Non-private cache pages': 'cache',
    'Private cache pages': 'private',
    'User process data pages': 'user',
    'Free pages': 'free',
    'Hwpoison pages': 'free',
    'Offline pages': 'free',
}


class PagesCase(test_readers.VmcoreCase):
    arch = None
    machine = {}  # of guests.Linux

    @classmethod
    def make_guest(cls):
        return guests.Linux(cls.arch, **{'append': BUSY, **cls.machine})

    @classmethod
    def stop_guest(cls):
        for command in PREPARATIONS:
            cls.guest.run(command)
        cls.prepare()
        super().stop_guest()

    @classmethod
    def prepare(cls):
        pass

    def makedumpfile(self, *words):
        done = subprocess.run([*readers.makedumpfile_of(self.arch), '-f', *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env(),
                              timeout=harness.patience(120))
        self.assertEqual(done.returncode, 0, done.stdout[-2000:])
        return done.stdout

    def bitmaps(self, path):
        return kdump.Bitmaps(path, '<' if readers.LITTLE_ENDIAN[self.arch] else '>')

    def filtered(self, level, core=None):
        """makedumpfile's bitmaps of a core at this level, and how many pages it counts by our names of classes."""
        out = self.path('filtered')
        said = self.makedumpfile('-l', '-d', str(level), '--message-level', '31', core or self.ours(), out)
        counts = dict.fromkeys(COUNTED.values(), 0)
        for name, number in re.findall(r'([\w-][\w -]*?) *: 0x([0-9a-f]+)', said):
            if name in COUNTED:
                counts[COUNTED[name]] += int(number, 16)
        return self.bitmaps(out), counts

    def left_out(self, level):
        """Our own dump at this level, and how many pages it says."""
        out = self.path('level-%d' % level)
        result = self.run_server('dump', '-q', '--debug', *self.target, '-d', str(level), out, seconds=120)
        self.assertEqual(result.status, 0, result.err)
        found = re.search(FOUND, result.err)
        self.assertTrue(found, result.err)
        return out, dict(zip(('cache', 'private', 'user', 'free'), map(int, found.groups())))

    def assert_same_pages(self, path, bitmaps):
        """What is kept is as in the full dump; there are zeros, or nothing, in place of all else."""
        with elfcore.Core(self.ours()) as full, elfcore.Core(path) as core:
            self.assertEqual(core.ranges(), full.ranges())
            for start, end in full.ranges():
                for here, there, kept in bitmaps.runs(start, end):
                    for at in range(here, there, CHUNK):
                        size = min(CHUNK, there - at)
                        expected = full.read_phys(at, size) if kept else bytes(size)
                        if core.read_phys(at, size) != expected:
                            self.fail('at %#x, which makedumpfile %s' % (at, 'keeps' if kept else 'leaves out'))


class PagesTests:
    expected = 'cache', 'user', 'free'  # the classes that this guest has pages of

    def check_level(self, level):
        bitmaps, counts = self.filtered(level)
        path, found = self.left_out(level)
        self.assertEqual(found, counts)
        self.assertEqual(sum(found.values()), bitmaps.left_out())
        self.assert_same_pages(path, bitmaps)

    def test_all(self):
        self.check_level(31)

    def test_cache(self):
        self.check_level(CACHE)

    def test_cache_with_private_data(self):
        self.check_level(PRIVATE)

    def test_user(self):
        self.check_level(USER)

    def test_free(self):
        self.check_level(FREE)

    def test_has_every_class(self):
        """So that it is a guest to compare with; private data are on block devices, which it has none of."""
        _, found = self.left_out(31)
        self.assertEqual([name for name, n in found.items() if n > 100], list(self.expected))

    def test_exclude_is_the_level(self):
        by_level, _ = self.left_out(CACHE | FREE)
        by_name = self.path('by-name')
        self.dump(self.target, by_name, '--exclude', 'free,cache')
        self.assertTrue(filecmp.cmp(by_level, by_name, shallow=False))

    def test_nothing_takes_space(self):
        path, found = self.left_out(31)
        with elfcore.Core(path) as core:
            page_bytes = 65536 if self.arch == 'ppc64el' else 4096
            memory = sum(end - start for start, end in core.ranges())
        self.assertLess(os.stat(path).st_blocks * 512, memory - sum(found.values()) * page_bytes + CHUNK)

    def test_makedumpfile_finds_the_same_again(self):
        """In what is left it still sees what all pages are for."""
        path, found = self.left_out(31)
        bitmaps, counts = self.filtered(31, path)
        self.assertEqual(counts, found)
        self.assertEqual(bitmaps.kept, self.filtered(31)[0].kept)

    def check_dmesg(self, path):
        full, less = self.path('dmesg-full'), self.path('dmesg')
        self.makedumpfile('--dump-dmesg', self.ours(), full)
        self.makedumpfile('--dump-dmesg', path, less)
        with open(full) as f:
            self.assertIn(readers.banner(self.guest), f.read())
        self.assertTrue(filecmp.cmp(full, less, shallow=False))

    def test_dmesg_is_whole(self):
        self.check_dmesg(self.left_out(31)[0])

    def test_compressed(self):
        """The same pages can be read of our compressed file, those that are zeros among them."""
        path = self.path('kdump')
        self.dump(self.target, path, '-d', '31', '--format', 'kdump-zlib')
        self.assertEqual(self.bitmaps(path).kept, self.filtered(31)[0].kept)
        self.check_dmesg(path)

    def test_readers(self):
        """Registers, the banner, and memory by the kernel's own page tables."""
        path, _ = self.left_out(31)
        for reader in readers.ANY_ARCH:
            with self.subTest(reader=reader.__name__):
                reader(self, path, self.guest, self.live())

    def in_kernel(self, cpu):
        return int(cpu[self.stack_pointer], 16) >= self.kernel_start

    def test_kernel_stacks(self):
        """What the vCPUs wait with, and what the first task is."""
        path, _ = self.left_out(31)
        stacks = [int(cpu[self.stack_pointer], 16) & ~0xf for cpu in self.live() if self.in_kernel(cpu)]
        data = [self.guest.symbols[name] for name in ('init_task', 'init_uts_ns') if name in self.guest.symbols]
        # To the end of the page: none may be mapped behind it.
        addresses = [at for start in stacks + data for at in range(start, (start | 0xfff) - 15, 16)]
        self.assertTrue(addresses)
        found = readers.kdumpfile(self, path, *addresses)
        for address, data in zip(addresses, found['memory']):
            self.assertEqual(bytes.fromhex(data), self.guest.memsave(address, 16), hex(address))


class DebuginfoTests:
    """With the kernel's debug information: the tasks, and where they wait."""

    def test_drgn_tasks(self):
        if not self.guest.vmlinux:
            self.skipTest('no debug information: make check-linux DEBUGINFO=1')
        readers.check_drgn_tasks(self, self.left_out(31)[0], self.guest)


class TestAmd64(PagesTests, PagesCase):
    """Five levels of page tables, and everything at random addresses."""
    arch = 'amd64'
    stack_pointer, kernel_start = 'rsp', 0xff00000000000000


class TestAmd64Debuginfo(test_readers.GenericKernel, DebuginfoTests, PagesCase):
    arch = 'amd64'

    def test_crash(self):
        readers.check_crash(self, self.left_out(31)[0], self.guest)


class TestAmd64FourLevels(PagesTests, PagesCase):
    arch = 'amd64'
    machine = {'cpu': 'qemu64', 'append': BUSY + ' nokaslr'}
    stack_pointer, kernel_start = 'rsp', 0xff00000000000000


class TestS390x(PagesTests, DebuginfoTests, PagesCase):
    arch = 's390x'
    stack_pointer = 'r15'

    def in_kernel(self, cpu):
        """Its addresses are in a space of their own, and users have the same."""
        return not int(cpu['pswm'], 16) & test_readers.PSW_PROBLEM_STATE


class BrokenPage:
    """A kernel that can take a page that is broken out of use."""

    @classmethod
    def prepare(cls):
        cls.guest.run('echo %#x >%s' % (BROKEN_GPA, HARD_OFFLINE))

    def test_broken_page(self):
        """It is left out at any level."""
        bitmaps, _ = self.filtered(USER)
        self.assertEqual([kept for _, _, kept in bitmaps.runs(BROKEN_GPA, BROKEN_GPA + bitmaps.page_bytes)], [False])


class TestPpc64el(BrokenPage, PagesTests, DebuginfoTests, PagesCase):
    """Radix page tables."""
    arch = 'ppc64el'
    stack_pointer, kernel_start = 'r1', 0xc << 60


class TestPpc64elHashed(BrokenPage, PagesTests, PagesCase):
    arch = 'ppc64el'
    machine = {'cpu': 'POWER8'}
    stack_pointer, kernel_start = 'r1', 0xc << 60
