# SPDX-License-Identifier: GPL-3.0-or-later
"""What the test VMM's guests hold: the formulas of tests/vmm/pattern.h and vcpu.c."""

PAGE = 4096
RAM_BYTES = 0x2000000
GPA_MMIO = 0xd0000000
GPA_ROM = 0xfffc0000
ROM_BYTES = 0x40000
GPA_HIGH = 0x100000000
HIGH_BYTES = 0x1000000
GPA_EXTRA = 0x200000000
EXTRA_BYTES = 0x200000

GPA_CODE = 0x10000
CODE_STRIDE = 0x4000
COUNTER_OFFSET = 0x1000
LAST_OFFSET = 0x1008
GPA_DATA = 0x40000
GPA_CPU = 0x50000
GPA_LARGE = 0x400000
GPA_STAMP = 0x800000
STAMP_BYTES = 0x400000
GPA_TABLES = 0x100000
TABLES_STRIDE = 0x20000

GVA_CODE = 0x400000
GVA_DATA = 0x600000
GVA_CPU = 0x700000
GVA_LARGE = 0x40000000
GVA_HUGE = 0x80000000
GVA_DIRECT = 0xffff888000000000
GVA_LAST = 0xfffffffffffff000

TOUCHED_PERCENT = 75

# By the number in the instruction encoding.
GPRS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi',
        'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15']
SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr']
MSRS = ['sysenter_cs', 'sysenter_esp', 'sysenter_eip', 'star', 'lstar', 'cstar', 'fmask', 'k_gs_base']

# A loop for a QEMU's vCPU in real mode, cs 0, ds 0x1000: inc dword [0x1000]; jmp back.
REAL_CODE = bytes.fromhex('66ff060010 ebf9')
REAL_INC, REAL_JUMP, REAL_COUNTER = 0x8000, 0x8005, 0x11000

# The guest's own arithmetic changes these: CF PF AF ZF SF OF.
EFLAGS_ARITHMETIC = 0x8d5

# The VMM's names of registers, where gdb has another.
GDB_NAMES = {'ldt': 'ldtr', 'ldt_base': 'ldtr_base', 'ldt_limit': 'ldtr_limit',
             'gdt_base': 'gdtr_base', 'gdt_limit': 'gdtr_limit',
             'idt_base': 'idtr_base', 'idt_limit': 'idtr_limit', 'ftw': 'ftag'}


def word(vm, gpa):
    return 0x7a00000000000000 | vm << 48 | gpa


def touched(page, percent=TOUCHED_PERCENT):
    """Is this page of a block filled? Counted from the block's start."""
    return (page + 1) * percent // 100 != page * percent // 100


def page(vm, gpa):
    return b''.join(word(vm, at).to_bytes(8, 'little') for at in range(gpa, gpa + PAGE, 8))


def low(kind, vm, cpu, n):
    return ord(kind) << 24 | vm << 20 | cpu << 16 | n << 8 | 2


def value(kind, vm, cpu, n):
    lower = low(kind, vm, cpu, n)
    return (lower ^ 3) << 32 | lower


def addr(kind, vm, cpu, n):
    return 0xffff800000000000 | ord(kind) << 32 | low(kind, vm, cpu, n)


def input_value(cpu, n):
    return 0x10000000 * (cpu + 1) + n


def gpa_code(cpu):
    return GPA_CODE + cpu * CODE_STRIDE


def gpa_tables(cpu):
    return GPA_TABLES + cpu * TABLES_STRIDE


def pages(mode):
    return mode in ('32', 'pae', 'long')


def _general(mode, vm, cpu):
    regs = {}
    for n, name in enumerate(GPRS):
        wide = addr('G', vm, cpu, n) if name == 'rsp' else value('G', vm, cpu, n)
        regs[name] = wide if mode == 'long' else wide & 0xffffffff if n < 8 else 0
    return regs


def _segment(mode, vm, cpu, n):
    """selector, base, limit, attributes as in the upper half of a descriptor (bits 8-23)"""
    base = addr('S', vm, cpu, n)
    if mode != 'long' or n < 4:
        base &= 0xffffffff
    selector = (n + 1) * 8 + cpu * 0x100
    limit = (n + 1) << 20 | cpu << 16 | 0xffff
    kind, code, system, big, granular = 3, n == 1, n >= 6, mode != 'long', True
    if system:
        return selector, base, (n + 1) << 8 | cpu << 4 | 0xf, 0x8000 | (2 if n == 6 else 11) << 8
    if mode == '16':
        selector = gpa_code(cpu) >> 4 if n in (1, 3) else 0x1000 * (n + 2) + cpu * 0x10
        base, limit, big, granular = selector << 4, 0xffff, False, False
    elif n in (1, 3):
        base, limit = 0 if pages(mode) else gpa_code(cpu), 0xffffffff
    kind = 11 if code else 3
    attr = 0x9000 | kind << 8 | big << 22 | granular << 23 | (code and mode == 'long') << 21
    return selector, base, limit, attr


def _segments(mode, vm, cpu):
    regs = {}
    for n, name in enumerate(SEGMENTS):
        selector, base, limit, attr = _segment(mode, vm, cpu, n)
        regs.update({name: selector, name + '_base': base, name + '_limit': limit, name + '_attr': attr})
    for n, name in enumerate(['gdtr', 'idtr']):
        base = addr('D', vm, cpu, n)
        regs[name + '_base'] = base if mode == 'long' else base & 0xffffffff
        regs[name + '_limit'] = (0x7ff, 0xfff)[n] + 0x1000 * cpu
    return regs


def _control(mode, vm, cpu):
    cr2 = addr('C', vm, cpu, 2)
    regs = {
        'cr0': 0x32 | (0x50001 if mode != '16' else 0) | (0x80000000 if pages(mode) else 0),
        'cr2': cr2 if mode == 'long' else cr2 & 0xffffffff,
        'cr3': gpa_tables(cpu) | 8 if pages(mode) else 0,
        'cr4': 0x680 | ({'32': 0x10, 'pae': 0x20, 'long': 0x20}.get(mode, 0)),
        'cr8': 5 + cpu,
        'efer': {'pae': 0x801, 'long': 0xd01}.get(mode, 1),
    }
    for n, name in enumerate(MSRS):
        regs[name] = value('M', vm, cpu, n) if name == 'star' else addr('M', vm, cpu, n)
        if name in ('sysenter_cs', 'fmask'):
            regs[name] &= 0xffffffff
    return regs


def _ftag(cpu):
    """The 16-bit tag word: 11b where a register is empty, 00b where its number is a normal one."""
    return 3 << 2 * cpu


def _float(vm, cpu):
    regs = {'fctrl': 0x37f | (cpu & 3) << 10, 'fstat': 0x4100 | ((cpu + 3) & 7) << 11,
            'ftag': _ftag(cpu), 'fiseg': 0, 'fioff': 0, 'foseg': 0, 'fooff': 0, 'fop': 0,
            'mxcsr': 0x1f81 + cpu}
    for n in range(8):
        regs['st%d' % n] = (0x4000 + n) << 64 | 1 << 63 | value('F', vm, cpu, n)
    for n in range(16):
        regs['xmm%d' % n] = value('H', vm, cpu, n) << 64 | value('X', vm, cpu, n)
        regs['ymm%dh' % n] = value('Z', vm, cpu, n) << 64 | value('Y', vm, cpu, n)
    return regs


def registers(mode, vm, cpu, work='count', missing=()):
    """
    Every register that the guest has and keeps, by gdb's name. Not rip, whose
    loop goes on, and eflags without the arithmetic ones. missing: what this
    machine's KVM did not take, by the VMM's names.
    """
    regs = {}
    regs.update(_general(mode, vm, cpu))
    regs.update(_segments(mode, vm, cpu))
    regs.update(_control(mode, vm, cpu))
    regs.update(_float(vm, cpu))
    regs['eflags'] = 0x200402
    if work in ('pio', 'mmio'):
        del regs['rax']
    for name in missing:
        regs.pop(GDB_NAMES.get(name, name), None)
    return regs
