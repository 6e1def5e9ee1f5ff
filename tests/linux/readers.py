# SPDX-License-Identifier: GPL-3.0-or-later
"""
The programs that read vmcores, each run on the core of a stopped Linux guest
by check_NAME(). case is the harness.Case, path the core, guest what
guests.Linux tells of the guest, live a list of what live_registers() found in
each vCPU, or None to leave registers unchecked.
A reader that says a word of warning has failed.
"""

import json
import os
import re
import subprocess
import unittest

import guests
import harness

PYTHON = '/usr/bin/python3'  # the distribution's, which has its packages
READER_SECONDS = 120

# Of makedumpfile: common messages and errors, without the bar that moves.
MESSAGE_LEVEL = '6'
# What makedumpfile 1.7.2 says of every kernel that is newer than itself, and when it is done.
MAKEDUMPFILE_SAYS = re.compile(r'(The kernel version is not supported\.|'
                               r'The makedumpfile operation may be incomplete\.|'
                               r'The (dmesg log|dumpfile) is saved to \S+\.|makedumpfile Completed\.)?')

# libkdumpfile's names of registers that are not gdb's; rN has one name in both.
KDUMPFILE_NAMES = {
    'amd64': {'rflags': 'eflags'},
    'ppc64el': {'ccr': 'cr'},
    's390x': {'a%d' % i: 'acr%d' % i for i in range(16)},
}
KDUMPFILE_ARCH = {'amd64': 'x86_64', 'ppc64el': 'ppc64', 's390x': 's390x'}
# x87's tag word has one bit a register in a core, and the rest of it comes from what is in them.
GDB_DIFFERS = {'amd64': ['ftag'], 'ppc64el': [], 's390x': []}
UNKNOWN = '<unavailable>'  # as gdb shows a register
EMULATORS = {'ppc64el': 'qemu-ppc64le-static', 's390x': 'qemu-s390x-static'}
LITTLE_ENDIAN = {'amd64': True, 'ppc64el': True, 's390x': False}

# Arguments: the core, and addresses in kernel virtual memory to read 16 bytes at.
KDUMPFILE_SCRIPT = '''
import json, sys, kdumpfile
core = kdumpfile.kdumpfile(sys.argv[1])
core.attr['addrxlat.ostype'] = 'linux'
cpus = [core.attr['cpu.%d' % i] for i in range(core.attr['cpu.number'])]
print(json.dumps({
    'arch': core.attr['arch.name'],
    'little': core.attr['arch.byte_order'] == 1,
    'release': core.attr['linux.uts.release'],
    'vmcoreinfo': core.attr['linux.vmcoreinfo.lines.OSRELEASE'],
    'pids': [cpu['pid'] for cpu in cpus],
    'registers': [dict(cpu['reg'].items()) for cpu in cpus],
    'memory': [bytes(core.read(kdumpfile.KDUMP_KVADDR, int(at), 16)).hex() for at in sys.argv[2:]],
}))
'''

# Arguments: a core, and for each run of physical memory its address, length and place in the second argument, a
# file that has the same memory. Prints runs that differ, and those that cannot be read, as lists of addresses.
COMPARE_SCRIPT = '''
import json, sys, kdumpfile
STEP = 1 << 16
core = kdumpfile.kdumpfile(sys.argv[1])
found = {'read': 0, 'differ': [], 'missing': []}
with open(sys.argv[2], 'rb') as f:
    for run in sys.argv[3:]:
        gpa, size, offset = map(int, run.split(','))
        for at in range(gpa, gpa + size, STEP):
            n = min(STEP, gpa + size - at)
            f.seek(offset + at - gpa)
            try:
                same = bytes(core.read(kdumpfile.KDUMP_MACHPHYSADDR, at, n)) == f.read(n)
                found['read'] += n
                if not same:
                    found['differ'].append(at)
            except kdumpfile.exceptions.KDumpBaseException:
                found['missing'].append(at)
print(json.dumps(found))
'''

# Arguments: the core, the address of linux_banner, and maybe a vmlinux.
DRGN_SCRIPT = '''
import json, sys, drgn
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
found = {
    'linux': bool(prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL),
    'little': bool(prog.platform.flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN),
    'release': prog['UTS_RELEASE'].string_().decode(),
    'banner': prog.read(int(sys.argv[2]), 16).hex(),
}
if len(sys.argv) > 3:
    from drgn.helpers.linux.pid import for_each_task
    prog.load_debug_info(sys.argv[3:])
    tasks = list(for_each_task(prog))
    found['tasks'] = {task.pid.value_(): task.comm.string_().decode() for task in tasks}
    found['stacks'] = {task.pid.value_(): [f.name for f in prog.stack_trace(task)]
                       for task in tasks if task.comm.string_() == b'sleep'}
print(json.dumps(found))
'''


# ---- gdb, of a core and of a live guest ----

def registers(text):
    """
    name -> the value, of gdb's `info registers`: hexadecimal where gdb shows it
    so, and of vectors what they are as integers, whatever their types are there.
    """
    found = {}
    for line in text.splitlines():
        match = re.match(r'(\w+)\s+(0x[0-9a-f]+|\{.*\bu?int128 = (\S+?)[,}].*|\S.*)', line)
        if match:
            # QEMU's ppc64 stub has a second ctr, lr and xer among its SPRs, which are not live.
            found.setdefault(match.group(1), match.group(3) or re.sub(r'\s+', ' ', match.group(2)))
    return found


def gdb(case, *words):
    """What gdb-multiarch prints."""
    return case.run_gdb('-ex', 'set pagination off', '-ex', 'set width 0', '-ex', 'set confirm off', *words,
                        program='gdb-multiarch')


def gdb_commands(commands):
    return [word for command in commands for word in ('-ex', command)]


def remote(target, little=True):
    """
    gdb's words that reach a target (--core FILE, --qmp SOCKET, ...) through our
    program: with no file to tell the byte order, gdb takes the host's.
    """
    ours = ' '.join(map(str, (harness.SERVER, '-', *harness.target_of(target))))
    return gdb_commands(['set endian ' + ('little' if little else 'big'), 'target remote | ' + ours])


def registers_of_threads(case, n_cpus, *words):
    """For each thread of what these words of the command line open, its registers() by name."""
    marks = ['thread %d\necho @@\\n\ninfo registers all\necho @@\\n' % n for n in range(1, n_cpus + 1)]
    out = gdb(case, *words, *gdb_commands(c for mark in marks for c in mark.split('\n')))
    found = [registers(part) for part in out.split('@@\n')[1::2]]
    case.assertEqual(len(found), n_cpus, out)
    return found


def live_registers(case, target, guest):
    """Of each vCPU of a guest that stands still, as gdb shows them through our program."""
    return registers_of_threads(case, guest.n_cpus, *remote(target, LITTLE_ENDIAN[guest.arch]))


def check_registers(case, found, live, but=()):
    """
    Those of a core, in which some registers have no place, are those of the guest, but for
    some names. One that is not known has zeros in a note that has others too.
    """
    case.assertEqual(len(found), len(live))
    for cpu, (core, guest) in enumerate(zip(found, live)):
        both = sorted(name for name in set(core) & set(guest) - set(but) if core[name] != UNKNOWN)
        case.assertGreater(len(both), 20, 'registers in common')
        for name in both:
            expected = '0x0' if guest[name] == UNKNOWN else guest[name]
            case.assertEqual(core[name], expected, 'vCPU %d: %s' % (cpu, name))


def banner(guest):
    return 'Linux version %s ' % guest.release


def check_gdb(case, path, guest, live=None):
    address = guest.symbols['linux_banner']
    out = gdb(case, '-c', path, *gdb_commands(['info threads', 'x/s %#x' % address]))
    case.assertNotRegex(out, '(?i)warning|error|cannot')
    case.assertEqual(len(re.findall(r'^[* ] +\d+ +(?:LWP|Thread) ', out, re.M)), guest.n_cpus, out)
    case.assertIn('"' + banner(guest), out)
    if live:
        check_registers(case, registers_of_threads(case, guest.n_cpus, '-c', path), live, GDB_DIFFERS[guest.arch])


# ---- the others ----

def run(case, *words, text=None):
    """What a program prints; it must succeed without a word on its standard error."""
    harness.require_program(words[0])
    done = subprocess.run(words, input=text, stdin=None if text else subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors='replace', env=case.env(),
                          timeout=harness.patience(READER_SECONDS))
    case.assertEqual((done.returncode, done.stderr), (0, ''), '%s: %s' % (' '.join(words[:2]), done.stdout[-2000:]))
    return done.stdout


def require_module(name):
    if subprocess.run([PYTHON, '-c', 'import ' + name], stderr=subprocess.DEVNULL).returncode:
        raise unittest.SkipTest('%s has no module %s' % (PYTHON, name))


def check_eu_readelf(case, path, guest, live=None):
    out = run(case, 'eu-readelf', '-a', path)
    case.assertEqual(len(re.findall(r'^  CORE +\d+  PRSTATUS$', out, re.M)), guest.n_cpus)
    case.assertIn('    OSRELEASE=%s\n' % guest.release, out)
    case.assertNotIn('???', out)


def check_readelf(case, path, guest, live=None):
    out = run(case, 'readelf', '-a', '-W', path)
    case.assertNotIn('Warning', out)
    case.assertEqual(len(re.findall(r'^  CORE\s.*NT_PRSTATUS ', out, re.M)), guest.n_cpus)
    case.assertRegex(out, r'(?m)^  VMCOREINFO\s')


def kdumpfile(case, path, *addresses):
    """What KDUMPFILE_SCRIPT tells; each address is one in the kernel's virtual memory."""
    require_module('kdumpfile')
    return json.loads(run(case, PYTHON, '-c', KDUMPFILE_SCRIPT, path, *map(str, addresses)))


def check_libkdumpfile(case, path, guest, live=None):
    found = kdumpfile(case, path, guest.symbols['linux_banner'])
    case.assertEqual(found['arch'], KDUMPFILE_ARCH[guest.arch])
    case.assertEqual(found['little'], LITTLE_ENDIAN[guest.arch])
    case.assertEqual((found['release'], found['vmcoreinfo']), (guest.release, guest.release))
    case.assertEqual(bytes.fromhex(found['memory'][0]).decode(), banner(guest)[:16])
    case.assertEqual(len(found['registers']), guest.n_cpus)
    for core, expected in zip(found['registers'], live or []):
        named = {KDUMPFILE_NAMES[guest.arch].get(name, name): value for name, value in core.items()}
        both = sorted(set(named) & set(expected))
        case.assertGreater(len(both), 16)
        for name in both:
            # gdb shows the selectors and the flags as it shows signed numbers or words.
            if expected[name].startswith('0x'):
                case.assertEqual('%#x' % named[name], expected[name], name)


def compare_memory(case, path, elf, loads):
    """Of what libkdumpfile finds in a core, beside an ELF core with these loads: see COMPARE_SCRIPT."""
    require_module('kdumpfile')
    runs = ['%d,%d,%d' % (load.paddr, load.filesz, load.offset) for load in loads]
    return json.loads(run(case, PYTHON, '-c', COMPARE_SCRIPT, path, elf, *runs))


def drgn(case, path, guest, *vmlinux):
    """What DRGN_SCRIPT tells."""
    require_module('drgn')
    return json.loads(run(case, PYTHON, '-c', DRGN_SCRIPT, path, str(guest.symbols['linux_banner']), *vmlinux))


def check_drgn(case, path, guest, live=None):
    found = drgn(case, path, guest)
    case.assertTrue(found['linux'])
    case.assertEqual(found['little'], LITTLE_ENDIAN[guest.arch])
    case.assertEqual(found['release'], guest.release)
    case.assertEqual(bytes.fromhex(found['banner']).decode(), banner(guest)[:16])


def check_drgn_tasks(case, path, guest, live=None):
    """With the kernel's debug information: the guest's tasks are there, and where each waits."""
    found = drgn(case, path, guest, guest.vmlinux)
    for pid, name in guest.tasks.items():
        case.assertEqual(found['tasks'].get(str(pid)), name)
        case.assertIn('schedule', found['stacks'][str(pid)])


def makedumpfile_of(arch):
    """The words that start it: it reads cores of its own architecture alone."""
    if arch not in EMULATORS:
        harness.require_program('makedumpfile')
        return ['makedumpfile']
    root = os.path.join(guests.CACHE, arch + '-readers')
    program = os.path.join(root, 'usr/bin/makedumpfile')
    if not os.path.exists(program):
        raise unittest.SkipTest('no makedumpfile of %s: make linux-guests' % arch)
    harness.require_program(EMULATORS[arch])
    return [EMULATORS[arch], '-L', root, program]


def _makedumpfile(case, arch, *words):
    out = run(case, *makedumpfile_of(arch), '--message-level', MESSAGE_LEVEL, *words)
    for line in out.splitlines():
        case.assertRegex(line, '^%s$' % MAKEDUMPFILE_SAYS.pattern)


def check_dmesg(case, path, guest):
    """By makedumpfile."""
    dmesg = case.path('dmesg')
    _makedumpfile(case, guest.arch, '-f', '--dump-dmesg', path, dmesg)
    with open(dmesg) as f:
        case.assertRegex(f.read(), r'(?m)^\[ +\d+\.\d+\] ' + re.escape(banner(guest)))


def refilter(case, path, guest, out):
    """What makedumpfile keeps at its highest dump level."""
    _makedumpfile(case, guest.arch, '-f', '-d', '31', '-l', path, out)
    return out


def put_in_order(case, flattened, out):
    """By makedumpfile -R, which reads its standard input."""
    harness.require_program('makedumpfile')
    with open(flattened, 'rb') as f:
        done = subprocess.run(['makedumpfile', '-f', '-R', out], stdin=f, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=harness.patience(READER_SECONDS))
    case.assertEqual(done.returncode, 0, done.stdout)
    return out


def check_makedumpfile(case, path, guest, live=None):
    check_dmesg(case, path, guest)
    filtered = refilter(case, path, guest, case.path('filtered'))
    case.assertLess(os.path.getsize(filtered), os.path.getsize(path) / 2)
    check_libkdumpfile(case, filtered, guest, live)


def check_crash(case, path, guest, live=None):
    """With the kernel's debug information. It takes seconds to start, so one run has all commands."""
    out = run(case, 'crash', '-s', '--no_scroll', guest.vmlinux, path, text='sys\nlog\nbt -a\nquit\n')
    case.assertNotRegex(out, r'(?m)^(WARNING|crash|bt): ')
    case.assertRegex(out, r'(?m)^ +CPUS: %d$' % guest.n_cpus)
    case.assertRegex(out, r'(?m)^ +RELEASE: %s$' % re.escape(guest.release))
    case.assertRegex(out, r'(?m)^\[ +0\.000000\] ' + re.escape(banner(guest)))
    stacks = re.split(r'(?m)^PID: ', out)[1:]
    case.assertEqual(len(stacks), guest.n_cpus)
    for cpu, stack in enumerate(stacks):
        case.assertRegex(stack, r' CPU: %d ' % cpu)
        case.assertRegex(stack, r'(?m)^ #\d+ \[[0-9a-f]{16}\] \w+ at ')


ANY_ARCH = [check_eu_readelf, check_readelf, check_gdb, check_libkdumpfile, check_drgn]
