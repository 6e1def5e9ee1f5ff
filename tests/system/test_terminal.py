# SPDX-License-Identifier: GPL-3.0-or-later
"""The console in a terminal: its prompt, completion, history, and Ctrl-C."""

import os
import pty
import re
import select
import stat
import time

import harness
import pattern

PROMPT = '(vmgdbserver) '
ESCAPES = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]|\r|\x07')


class Terminal:
    """Our console in one."""

    def __init__(self, case, target):
        self.main, theirs = pty.openpty()
        case.addCleanup(os.close, self.main)
        env = dict(case.env(), TERM='dumb', INPUTRC='/dev/null', COLUMNS='200')
        # A session of its own, whose terminal this is: Ctrl-C goes to it.
        self.proc = case.popen('console', *harness.target_of(target), stdin=theirs, stdout=theirs, stderr=theirs, env=env,
                               start_new_session=True, preexec_fn=self._own_terminal)
        os.close(theirs)
        self.said = ''
        self.wait_for(PROMPT)

    @staticmethod
    def _own_terminal():
        os.close(os.open(os.ttyname(0), os.O_RDWR))

    def wait_for(self, text, seconds=20):
        """What it said up to this and with it."""
        end = time.monotonic() + harness.patience(seconds)
        while text not in self.said:
            ready, _, _ = select.select([self.main], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError('no %r within %g seconds in %r' % (text, harness.patience(seconds), self.said))
            self.said += ESCAPES.sub('', os.read(self.main, 65536).decode(errors='replace'))
        at = self.said.index(text) + len(text)
        part, self.said = self.said[:at], self.said[at:]
        return part

    def type(self, text):
        os.write(self.main, text.encode())

    def run(self, line):
        """What a command prints."""
        self.type(line + '\r')
        self.wait_for('\n')
        return self.wait_for(PROMPT)

    def leave(self):
        self.type('exit\r')
        return self.proc.wait(harness.patience(10))


class TestTerminal(harness.Case):
    def start(self):
        vmm = self.vmm()
        return vmm, Terminal(self, vmm)

    def test_commands(self):
        vmm, terminal = self.start()
        self.assertIn('%016x' % pattern.word(0, pattern.GPA_DATA), terminal.run('xp /1gx 0x%x' % pattern.GPA_DATA))
        self.assertIn('nonsense', terminal.run('nonsense'))
        self.assertEqual(terminal.leave(), 0)
        vmm.counts_on()

    def test_end_of_input(self):
        vmm, terminal = self.start()
        terminal.type('\x04')
        self.assertEqual(terminal.proc.wait(harness.patience(10)), 0)
        vmm.counts_on()

    def test_completion(self):
        """Of commands, of their words, of registers and of file names."""
        vmm, terminal = self.start()
        open(self.path('only-one'), 'w').close()
        for typed, completed in (('dump-g', 'dump-guest-memory '), ('info regi', 'info registers '),
                                 ('print $cs_ba', 'print $cs_base'),
                                 ('pmemsave 0 1 ' + self.path('only-'), self.path('only-one'))):
            with self.subTest(typed=typed):
                terminal.type(typed + '\t')
                terminal.wait_for(completed)
                terminal.type('\x15')
        terminal.type('info m\t\t')
        self.assertIn('mtree', terminal.wait_for('mtree'))
        terminal.type('\x15')
        self.assertEqual(terminal.leave(), 0)

    def test_history(self):
        """It is there the next time, for nobody else to read."""
        vmm, terminal = self.start()
        terminal.run('info status')
        terminal.run('version')
        self.assertEqual(terminal.leave(), 0)
        path = self.path('vmgdbserver/history')
        with open(path) as f:
            self.assertEqual(f.read().split('\n')[:2], ['info status', 'version'])
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        again = Terminal(self, vmm)
        again.type('\x10\x10\x10\r')
        again.wait_for('VM status: ')
        self.assertEqual(again.leave(), 0)

    def test_ctrl_c_clears_the_line(self):
        vmm, terminal = self.start()
        terminal.type('nonsense')
        terminal.wait_for('nonsense')
        terminal.type('\x03')
        terminal.wait_for(PROMPT)
        self.assertIn('VM status: paused', terminal.run('info status'))
        self.assertEqual(terminal.leave(), 0)
        vmm.counts_on()

    def test_ctrl_c_cancels_a_dump(self):
        """That nobody reads."""
        vmm, terminal = self.start()
        fifo = self.path('fifo')
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        terminal.type('dump-guest-memory %s\r' % fifo)
        ready, _, _ = select.select([reader], [], [], harness.patience(20))
        self.assertTrue(ready, 'the dump begins')
        terminal.type('\x03')
        self.assertRegex(terminal.wait_for(PROMPT), '(?i)cancel')
        self.assertIn('VM status: paused', terminal.run('info status'))
        self.assertEqual(terminal.leave(), 0)
        vmm.counts_on()
