# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the initramfs of a test guest: the cpio format that kernels read, called newc."""

import os
import stat

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER_SIZE = 110

# What every guest tells of itself, where its kernel has it.
SYMBOLS = '''
S390_lowcore __per_cpu_offset _end _etext _stext _text current_task high_memory init_task init_top_pgt init_uts_ns
kexec_crash_image linux_banner lowcore_ptr mem_section node_data page_offset_base paca_ptrs pcpu_base_addr phys_base
runqueues swapper_pg_dir vmalloc_base vmcoreinfo_data vmcoreinfo_note vmcoreinfo_size vmemmap_base
'''


class Cpio:
    def __init__(self, out):
        self.out = out
        self.inode = 0

    def add(self, name, mode, data=b'', device=(0, 0)):
        """Name and data each end at a multiple of 4, counted from the start of the header."""
        self.inode += 1
        name = name.encode() + b'\0'
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        self.out.write(b'070701' + b''.join(b'%08X' % f for f in fields))
        self.out.write(name + bytes(-(HEADER_SIZE + len(name)) % 4))
        self.out.write(data + bytes(-len(data) % 4))

    def end(self):
        self.add('TRAILER!!!', 0)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def write(path, busybox, init, files):
    """init: the path of the first process's script; files: names in the root directory and below to bytes."""
    with open(path, 'wb') as out:
        cpio = Cpio(out)
        for name in sorted({'bin', 'dev', *filter(None, map(os.path.dirname, files))}):
            cpio.add(name, stat.S_IFDIR | 0o755)
        # Opened for the first process before it can mount anything.
        cpio.add('dev/console', stat.S_IFCHR | 0o600, device=(5, 1))
        cpio.add('bin/busybox', stat.S_IFREG | 0o755, read(busybox))
        cpio.add('bin/sh', stat.S_IFLNK | 0o777, b'busybox')
        cpio.add('init', stat.S_IFREG | 0o755, read(init))
        for name, data in files.items():
            cpio.add(name, stat.S_IFREG | 0o644, data)
        cpio.end()


def write_guest(path, busybox):
    write(path, busybox, os.path.join(HERE, 'init'), {'etc/symbols': SYMBOLS.encode()})
