# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader of ELF cores, written for the tests from the ELF specification: never our own code."""

import struct

EM_386, EM_X86_64 = 3, 62
ELFCLASS32, ELFCLASS64 = 1, 2
PT_LOAD, PT_NOTE = 1, 4
PN_XNUM = 0xffff
NT_PRSTATUS = 1

# Of struct elf_prstatus: offset and size of pr_pid, offset and names of the registers.
PRSTATUS = {
    336: ('<I', 32, '<Q', 112, ['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax',
                                'rcx', 'rdx', 'rsi', 'rdi', 'orig_rax', 'rip', 'cs', 'eflags', 'rsp', 'ss',
                                'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs']),
    144: ('<I', 24, '<I', 72, ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rax', 'ds', 'es', 'fs', 'gs',
                               'orig_rax', 'rip', 'cs', 'eflags', 'rsp', 'ss']),
}

# Of QEMU's own note: struct QEMUCPUState in its target/i386/arch_dump.c.
QEMU_GENERAL = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp', 'r8', 'r9', 'r10', 'r11', 'r12',
                'r13', 'r14', 'r15', 'rip', 'eflags']
QEMU_SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'ldtr', 'tr', 'gdtr', 'idtr']


class Load:
    def __init__(self, vaddr, paddr, offset, filesz, memsz):
        self.vaddr, self.paddr, self.offset, self.filesz, self.memsz = vaddr, paddr, offset, filesz, memsz

    def __repr__(self):
        return 'Load(vaddr=%#x paddr=%#x offset=%#x filesz=%#x memsz=%#x)' % (
            self.vaddr, self.paddr, self.offset, self.filesz, self.memsz)


class Note:
    def __init__(self, owner, kind, desc):
        self.owner, self.type, self.desc = owner, kind, desc


class Core:
    """An ELF core of either class and byte order; registers only of a little-endian one."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, 'rb')
        ident = self.file.read(16)
        if ident[:4] != b'\x7fELF' or ident[5] not in (1, 2):
            raise ValueError('%s is no ELF file' % path)
        self.order = '<' if ident[5] == 1 else '>'
        self.elf_class = ident[4]
        self._read_header()
        self.loads, self.notes = [], []
        for kind, load in self._program_headers():
            if kind == PT_LOAD:
                self.loads.append(load)
            elif kind == PT_NOTE:
                self.notes += list(_notes(self._at(load.offset, load.filesz), self.order))

    def close(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _at(self, offset, size):
        self.file.seek(offset)
        return self.file.read(size)

    def _read_header(self):
        form = self.order + ('HHIQQQIHHHHHH' if self.elf_class == ELFCLASS64 else 'HHIIIIIHHHHHH')
        (self.type, self.machine, _, _, self.phoff, self.shoff, _, self.ehsize, self.phentsize, self.phnum, _,
         self.shnum, _) = struct.unpack(form, self._at(16, struct.calcsize(form)))
        if self.phnum == PN_XNUM:
            sh_info = 44 if self.elf_class == ELFCLASS64 else 28
            self.phnum, = struct.unpack(self.order + 'I', self._at(self.shoff + sh_info, 4))

    def _program_headers(self):
        for n in range(self.phnum):
            raw = self._at(self.phoff + n * self.phentsize, self.phentsize)
            if self.elf_class == ELFCLASS64:
                kind, _, offset, vaddr, paddr, filesz, memsz, _ = struct.unpack(self.order + 'IIQQQQQQ', raw)
            else:
                kind, offset, vaddr, paddr, filesz, memsz, _, _ = struct.unpack(self.order + 'IIIIIIII', raw)
            yield kind, Load(vaddr, paddr, offset, filesz, memsz)

    def ranges(self):
        """The physical memory in the file: disjoint (start, end) pairs, sorted, neighbours joined."""
        merged = []
        for start, end in sorted((l.paddr, l.paddr + l.filesz) for l in self.loads if l.filesz):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        return [tuple(r) for r in merged]

    def read_phys(self, gpa, size):
        """Bytes at a physical address; raises KeyError where the file has none."""
        out = b''
        while size:
            load = self._load_at(gpa)
            n = min(size, load.paddr + load.filesz - gpa)
            piece = self._at(load.offset + gpa - load.paddr, n)
            if len(piece) != n:
                raise ValueError('%s ends inside of %r' % (self.path, load))
            out += piece
            gpa += n
            size -= n
        return out

    def _load_at(self, gpa):
        for load in self.loads:
            if load.paddr <= gpa < load.paddr + load.filesz:
                return load
        raise KeyError('no byte of %#x in %s' % (gpa, self.path))

    def notes_of(self, owner, kind):
        return [n.desc for n in self.notes if n.owner == owner and n.type == kind]

    def prstatus(self):
        """For each vCPU a dict of its registers, and 'pid'."""
        cpus = []
        for desc in self.notes_of('CORE', NT_PRSTATUS):
            pid_form, pid_at, form, at, names = PRSTATUS[len(desc)]
            cpu = {'pid': struct.unpack_from(pid_form, desc, pid_at)[0]}
            step = struct.calcsize(form)
            for n, name in enumerate(names):
                cpu[name] = struct.unpack_from(form, desc, at + n * step)[0]
            cpus.append(cpu)
        return cpus

    def qemu_states(self):
        """For each vCPU a dict of what the QEMU note tells."""
        return [_qemu_state(desc) for desc in self.notes_of('QEMU', 0)]


def _qemu_state(desc):
    version, size = struct.unpack_from('<II', desc)
    if version != 1 or size != len(desc):
        raise ValueError('QEMU note: version %d, size %d of %d' % (version, size, len(desc)))
    regs = dict(zip(QEMU_GENERAL, struct.unpack_from('<18Q', desc, 8)))
    for n, name in enumerate(QEMU_SEGMENTS):
        selector, limit, flags, _, base = struct.unpack_from('<IIIIQ', desc, 152 + 24 * n)
        regs.update({name: selector, name + '_limit': limit, name + '_attr': flags, name + '_base': base})
    for n, at in ((0, 392), (2, 408), (3, 416), (4, 424)):
        regs['cr%d' % n], = struct.unpack_from('<Q', desc, at)
    if size >= 440:
        regs['k_gs_base'], = struct.unpack_from('<Q', desc, 432)
    return regs


def _notes(data, order):
    at = 0
    while at + 12 <= len(data):
        namesz, descsz, kind = struct.unpack_from(order + 'III', data, at)
        at += 12
        owner = data[at:at + namesz].rstrip(b'\0').decode('ascii')
        at += (namesz + 3) & ~3
        yield Note(owner, kind, data[at:at + descsz])
        at += (descsz + 3) & ~3


def first_difference(a, b, chunk=1 << 20):
    """Compares the physical memory of two cores; None, or a text that names the first difference."""
    if a.ranges() != b.ranges():
        return 'ranges differ: %s and %s' % (_hex(a.ranges()), _hex(b.ranges()))
    for start, end in a.ranges():
        for at in range(start, end, chunk):
            n = min(chunk, end - at)
            left, right = a.read_phys(at, n), b.read_phys(at, n)
            if left != right:
                where = next(i for i in range(n) if left[i] != right[i])
                return 'at %#x: %s and %s' % (at + where, left[where:where + 16].hex(),
                                              right[where:where + 16].hex())
    return None


def _hex(ranges):
    return ' '.join('%#x-%#x' % r for r in ranges)
