# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the ELF file that a vmlinux is to gdb once it has been stripped of all but its symbols: no code, no types."""

import struct

SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS = 1, 2, 3, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
PT_LOAD, PF_RWX = 1, 7
STB_GLOBAL, STT_OBJECT, STT_FUNC = 1, 1, 2
ET_EXEC, EV_CURRENT = 2, 1
EHDR_SIZE, PHDR_SIZE, SHDR_SIZE, SYM_SIZE = 64, 56, 64, 24

# e_machine, struct's sign of the byte order, e_flags (of ppc64 the version of its ABI).
MACHINES = {'amd64': (62, '<', 0), 'ppc64el': (21, '<', 2), 's390x': (22, '>', 0)}
TEXT, DATA = 1, 2  # sections


class Strings:
    def __init__(self):
        self.data = b'\0'

    def add(self, text):
        self.data += text.encode() + b'\0'
        return len(self.data) - len(text) - 1


def write(path, arch, start, etext, end, symbols):
    """Addresses are those that it is linked at: .text from start to etext, .data on to end; symbols by name."""
    machine, order, flags = MACHINES[arch]
    names, section_names = Strings(), Strings()
    table = bytes(SYM_SIZE)
    for name, address in symbols.items():
        kind, section = (STT_FUNC, TEXT) if address < etext else (STT_OBJECT, DATA)
        table += struct.pack(order + 'IBBHQQ', names.add(name), STB_GLOBAL << 4 | kind, 0, section, address, 0)
    body, headers = b'', bytes(SHDR_SIZE)
    sections = (('.text', SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, start, etext - start, 0, 0, 16),
                ('.data', SHT_NOBITS, SHF_ALLOC | SHF_WRITE, etext, end - etext, 0, 0, 16),
                ('.symtab', SHT_SYMTAB, 0, 0, table, 4, 1, 8),
                ('.strtab', SHT_STRTAB, 0, 0, names, 0, 0, 1),
                ('.shstrtab', SHT_STRTAB, 0, 0, section_names, 0, 0, 1))
    indices = [section_names.add(section[0]) for section in sections]
    for index, (_, kind, attributes, address, content, link, info, align) in zip(indices, sections):
        data = getattr(content, 'data', content)
        size = data if kind == SHT_NOBITS else len(data)
        headers += struct.pack(order + 'IIQQQQIIQQ', index, kind, attributes, address,
                               EHDR_SIZE + PHDR_SIZE + len(body), size, link, info, align,
                               SYM_SIZE if kind == SHT_SYMTAB else 0)
        body += b'' if kind == SHT_NOBITS else data + bytes(-len(data) % 8)
    ident = b'\x7fELF' + bytes([2, 1 if order == '<' else 2, EV_CURRENT]) + bytes(9)
    with open(path, 'wb') as f:
        f.write(ident + struct.pack(order + 'HHIQQQIHHHHHH', ET_EXEC, machine, EV_CURRENT, start, EHDR_SIZE,
                                    EHDR_SIZE + PHDR_SIZE + len(body), flags, EHDR_SIZE, PHDR_SIZE, 1,
                                    SHDR_SIZE, len(sections) + 1, len(sections)))
        f.write(struct.pack(order + 'IIQQQQQQ', PT_LOAD, PF_RWX, EHDR_SIZE + PHDR_SIZE, start, start, 0,
                            end - start, 4096))
        f.write(body + headers)
