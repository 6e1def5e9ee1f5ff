# SPDX-License-Identifier: GPL-3.0-or-later
"""makedumpfile's compressed files of real Linux guests: who reads them, and that they hold what the ELF file holds."""

import filecmp
import os
import shutil
import tempfile

import elfcore
import guests
import readers

FORMATS = 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'kdump-zstd'
# Debian's makedumpfile has no other codecs.
MAKEDUMPFILE_FORMATS = 'kdump-zlib', 'kdump-lzo'


class FormatCase(guests.GuestCase):
    """One stopped guest and its dump in each format, made by the first test that asks for it."""

    rom_start = 1 << 64  # what is behind all memory that the kernel knows of is in ELF files alone

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest.stop()
        cls.dumps = tempfile.mkdtemp(prefix='vmgdb-formats-')
        cls.addClassCleanup(shutil.rmtree, cls.dumps)

    def dump_of(self, name):
        """elf, a kdump format, or one with "-flat" behind it, which is written to a pipe."""
        path = os.path.join(self.dumps, name)
        target = ('--qmp', self.guest.qmp_path)
        if not os.path.exists(path):
            if name.endswith('-flat'):
                with open(path, 'wb') as f:
                    f.write(self.stream(target, '--format', name[:-len('-flat')], '--flatten'))
            else:
                self.dump(target, path, '--format', name)
        return path

    def stream(self, target, *options):
        return self.check_ok(self.run_server('dump', '-q', *target, *options, '-', seconds=120, text=False)).out


class FormatTests:
    def check(self, reader, formats=FORMATS):
        for name in formats:
            with self.subTest(format=name):
                reader(self, self.dump_of(name), self.guest)

    def test_libkdumpfile(self):
        self.check(readers.check_libkdumpfile)

    def test_drgn(self):
        self.check(readers.check_drgn)

    def test_pages_are_those_of_elf(self):
        elf = self.dump_of('elf')
        with elfcore.Core(elf) as core:
            loads = core.loads
        for name in FORMATS:
            with self.subTest(format=name):
                found = readers.compare_memory(self, self.dump_of(name), elf, loads)
                self.assertEqual(found['differ'], [])
                self.assertGreaterEqual(found['read'], self.guest.megabytes << 20)
                for gpa in found['missing']:
                    self.assertGreaterEqual(gpa, self.rom_start)

    def test_flattened_is_the_same_file(self):
        """The order of bytes is that of the records, on every architecture."""
        for name in FORMATS:
            with self.subTest(format=name):
                in_order = readers.put_in_order(self, self.dump_of(name + '-flat'), self.path('in-order'))
                self.assertTrue(filecmp.cmp(in_order, self.dump_of(name), shallow=False))

    def test_dmesg(self):
        self.check(readers.check_dmesg, MAKEDUMPFILE_FORMATS)

    def test_makedumpfile_filters_them_as_elf(self):
        wanted = readers.refilter(self, self.dump_of('elf'), self.guest, self.path('of-elf'))
        for name in MAKEDUMPFILE_FORMATS:
            with self.subTest(format=name):
                found = readers.refilter(self, self.dump_of(name), self.guest, self.path(name))
                self.assertTrue(filecmp.cmp(found, wanted, shallow=False))


class TestAmd64(FormatTests, FormatCase):
    rom_start = (4 << 30) - (16 << 20)

    @classmethod
    def make_guest(cls):
        return guests.Linux('amd64')


class TestS390x(FormatTests, FormatCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('s390x')


class TestPpc64el(FormatTests, FormatCase):
    @classmethod
    def make_guest(cls):
        return guests.Linux('ppc64el')
