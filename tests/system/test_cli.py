# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, sockets and signals."""

import os
import re
import signal
import socket
import stat
import subprocess

import harness
import pattern


class TestUsage(harness.Case):
    def test_wrong_words(self):
        for words in ([], ['-'], [':1234'], ['-', '--attach'], ['-', '--attach', 'x'], ['-', '--attach', '0'],
                      ['-', '--attach', '1', '--core', 'x'], ['dump'], ['dump', '--attach', '1'],
                      ['dump', '--attach', '1', 'a', 'b'], ['console'], ['--no-such-option'], ['list', 'x'],
                      ['-', '--attach', '1', 'x'], ['-', '--attach', '99999999999999999999']):
            with self.subTest(words=words):
                self.check_error(self.run_server(*words), 2)

    def test_help_and_version(self):
        result = self.check_ok(self.run_server('--help'))
        for word in ('--attach', '--core', 'dump', 'console', 'list', '--once', 'fd:N'):
            self.assertIn(word, result.out)
        self.assertEqual(result.err, '')
        result = self.check_ok(self.run_server('--version'))
        self.assertRegex(result.out, r'^vmgdbserver \d+\.\d+')

    def test_comm_that_is_none(self):
        for comm in ('nonsense', ':99999', ':x', 'unix:', 'host:'):
            with self.subTest(comm=comm):
                result = self.run_server(comm, '--attach', str(os.getpid()))
                self.assertIn(result.status, (1, 2))
                self.check_error(result, result.status)

    def test_options_in_any_order(self):
        vmm = self.vmm()
        self.check_ok(self.run_server('--attach', vmm.pid, 'dump', '-q', self.path('a')))
        self.check_ok(self.run_server('dump', self.path('b'), '--attach=%d' % vmm.pid, '-q'))
        self.check_ok(self.run_server('-q', 'dump', '--attach', vmm.pid, self.path('c')))

    def test_no_such_target(self):
        self.check_error(self.run_server('-', '--attach', '99999999'), 1, '99999999')
        self.check_error(self.run_server('-', '--core', '/no/such'), 1, '/no/such', 'No such file')
        self.check_error(self.run_server('console', '--attach', str(os.getpid()), '-c', 'help'), 1, str(os.getpid()))


class TestList(harness.Case):
    def test_list(self):
        vmm = self.vmm('--cpus', '3')
        qemu = self.qemu()
        out = self.check_ok(self.run_server('list')).out
        line = re.search(r'^.*\b%d\b.*$' % vmm.pid, out, re.M)
        self.assertTrue(line, out)
        self.assertIn('testvmm', line.group(0))
        self.assertRegex(line.group(0), r'\b3\b')
        line = re.search(r'^.*\b%d\b.*$' % qemu.pid, out, re.M)
        self.assertTrue(line, out)
        self.assertIn('qemu', line.group(0))
        vmm.counts_on()
        qemu.counts_on()

    def test_list_of_a_guest_that_is_debugged(self):
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('?')
        self.assertIn(str(vmm.pid), self.check_ok(self.run_server('list')).out)
        rsp.detach()


class TestConsole(harness.Case):
    def test_commands(self):
        vmm = self.vmm()
        look = harness.Look(vmm.pid)
        result = self.check_ok(self.console(vmm, 'info registers', 'xp /1gx 0x%x' % pattern.GPA_DATA, 'info mem',
                                            'info status', 'info cpus', 'help', 'version'))
        self.assertIn('%016x' % pattern.value('G', 0, 0, 3), result.out)
        self.assertIn('%016x' % pattern.word(0, pattern.GPA_DATA), result.out)
        self.assertEqual(result.err, '')
        vmm.counts_on()
        look.check_same(self)

    def test_status_of_a_core(self):
        """There is no VMM that could let it go on, and no thread of a vCPU."""
        core = self.path('core')
        self.dump(self.vmm(), core)
        out = self.check_ok(self.console(core, 'info status', 'info cpus')).out
        self.assertTrue(out.startswith('VM status: paused\nBackend: core, x86_64, 2 vCPUs\ncore '), out)
        self.assertNotRegex(out, '(?m) $')

    def test_wrong_commands(self):
        vmm = self.vmm()
        for command in ('nonsense', 'x', 'info nothing', 'xp /1gx 0x%x' % pattern.GPA_MMIO, 'pmemsave', 'cpu 7'):
            with self.subTest(command=command):
                self.check_error(self.console(vmm, command), 1)
        vmm.counts_on()

    def test_standard_input_is_no_terminal(self):
        vmm = self.vmm()
        with open(self.path('commands'), 'w') as f:
            f.write('xp /1gx 0x%x\nexit\nxp /1gx 0\n' % pattern.GPA_DATA)
        with open(self.path('commands')) as f:
            result = self.check_ok(self.run_server('console', *harness.target_of(vmm), stdin=f))
        self.assertIn('%016x' % pattern.word(0, pattern.GPA_DATA), result.out)
        vmm.counts_on()

    def test_end_of_input(self):
        vmm = self.vmm()
        self.check_ok(self.run_server('console', *harness.target_of(vmm)))
        vmm.counts_on()

    def test_pauses_and_resumes(self):
        vmm = self.vmm()
        proc = self.popen('console', *harness.target_of(vmm), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
        harness.wait_for(lambda: harness.traced(vmm), 10, 'pause')

        def still():
            before = vmm.peek_counters()
            return not harness.time.sleep(0.1) and vmm.peek_counters() == before

        harness.wait_for(still, 10, 'the guest is paused')
        proc.stdin.write(b'cont\n')
        proc.stdin.flush()
        vmm.counts_on()
        proc.stdin.write(b'stop\n')
        proc.stdin.flush()
        harness.wait_for(still, 10, 'stop')
        proc.stdin.close()
        self.assertEqual(proc.wait(10), 0)
        proc.stdin = None
        vmm.counts_on()


class TestSockets(harness.Case):
    def port_of(self, line):
        host, port = re.search(r'Listening on (\S+):(\d+)$', line).groups()
        return host, int(port)

    def test_port_0_picks_one(self):
        vmm = self.vmm()
        server, line = self.listen(vmm, ':0')
        host, port = self.port_of(line)
        self.assertEqual(host, '127.0.0.1')
        self.assertNotEqual(port, 0)
        vmm.counts_on()
        rsp = self.connect_tcp(host, port)
        self.assertRegex(rsp.ask('?'), '^[TS]')
        before = vmm.peek_counters()
        rsp.ask('qC')
        self.assertEqual(vmm.peek_counters(), before, 'paused while a client is connected')
        rsp.ask('D')
        vmm.counts_on()
        rsp = self.connect_tcp(host, port)
        self.assertRegex(rsp.ask('?'), '^[TS]')
        rsp.close()
        vmm.counts_on()
        server.terminate()
        self.assertEqual(server.wait(10), 0)

    def test_once(self):
        vmm = self.vmm()
        server, path = self.listen_unix(vmm, '--once')
        rsp = self.connect_unix(path)
        rsp.ask('?')
        rsp.ask('D')
        self.assertEqual(server.wait(10), 0)
        self.assertFalse(os.path.exists(path), 'the socket is removed')
        vmm.counts_on()

    def test_unix_socket_is_private(self):
        vmm = self.vmm()
        server, path = self.listen_unix(vmm)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        server.terminate()
        self.assertEqual(server.wait(10), 0)
        self.assertFalse(os.path.exists(path))

    def test_second_client_is_refused(self):
        vmm = self.vmm()
        server, path = self.listen_unix(vmm)
        first = self.connect_unix(path)
        self.assertRegex(first.ask('?'), '^[TS]')
        second = self.connect_unix(path)
        try:
            self.assertRegex(second.ask('?', 5), '^E')
            second.ask('?', 5)
            self.fail('the second client is served')
        except harness.Closed:
            pass
        self.assertEqual(first.read(pattern.GVA_DATA, 8),
                         pattern.word(0, pattern.GPA_DATA + 0x1000).to_bytes(8, 'little'))
        first.ask('D')
        third = self.connect_unix(path)
        self.assertRegex(third.ask('?'), '^[TS]')
        server.terminate()
        server.wait(10)
        vmm.counts_on()

    def test_two_servers(self):
        """The second cannot attach, and the first does not notice."""
        vmm = self.vmm()
        rsp = self.rsp(vmm)
        rsp.ask('?')
        self.check_error(self.run_server('dump', '-q', *harness.target_of(vmm), self.path('out')), 1)
        self.assertTrue(rsp.read(pattern.GVA_DATA, 8))
        rsp.detach()
        vmm.counts_on()

    def test_other_addresses_must_be_allowed(self):
        vmm = self.vmm()
        result = self.run_server('0.0.0.0:0', *harness.target_of(vmm))
        self.assertIn(result.status, (1, 2))
        self.check_error(result, result.status, '--allow-remote')
        server, line = self.listen(vmm, '0.0.0.0:0', '--allow-remote')
        self.assertIn('0.0.0.0:', line)
        server.terminate()
        server.wait(10)

    def test_port_in_use(self):
        vmm = self.vmm()
        _, line = self.listen(vmm, '127.0.0.1:0')
        host, port = self.port_of(line)
        self.check_error(self.run_server('%s:%d' % (host, port), *harness.target_of(vmm)), 1, str(port), 'in use')

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as sock:
                sock.bind(('::1', 0))
        except OSError as e:
            self.skipTest('no IPv6 loopback: %s' % e)
        vmm = self.vmm()
        server, line = self.listen(vmm, '[::1]:0')
        rsp = self.connect_tcp('::1', self.port_of(line)[1])
        self.assertRegex(rsp.ask('?'), '^[TS]')
        server.terminate()
        server.wait(10)
        vmm.counts_on()

    def test_gdb_over_tcp(self):
        vmm = self.vmm()
        server, line = self.listen(vmm, ':0', '--once')
        out = self.run_gdb('-ex', 'target remote %s:%d' % self.port_of(line), '-ex', 'p/x $rbx', '-ex', 'detach')
        self.assertIn('%#x' % pattern.value('G', 0, 0, 3), out)
        self.assertEqual(server.wait(10), 0)
        vmm.counts_on()


class TestSignals(harness.Case):
    def test_while_connected(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig=sig):
                vmm = self.vmm()
                look = harness.Look(vmm.pid)
                server, path = self.listen_unix(vmm)
                rsp = self.connect_unix(path)
                rsp.ask('?')
                server.send_signal(sig)
                server.wait(10)
                vmm.counts_on()
                look.check_same(self)
                self.assertFalse(os.path.exists(path))

    def test_in_the_middle_of_a_dump(self):
        vmm = self.vmm('--ram', '0x10000000', '--touch', '100')
        r, w = os.pipe()
        self.addCleanup(os.close, r)
        proc = self.popen('dump', '-q', *harness.target_of(vmm), '-', stdout=w, stderr=subprocess.PIPE)
        os.close(w)
        os.read(r, 4096)
        proc.send_signal(signal.SIGINT)
        self.assertEqual(proc.wait(10), 1)
        vmm.counts_on()

    def test_in_the_middle_of_a_dump_to_a_file(self):
        vmm = self.vmm('--ram', '0x40000000', '--touch', '100')
        os.mkdir(self.path('out'))
        proc = self.popen('dump', '-q', *harness.target_of(vmm), self.path('out/core'), stderr=subprocess.PIPE)
        harness.wait_for(lambda: harness.traced(vmm), 10, 'attach')
        proc.send_signal(signal.SIGTERM)
        if proc.wait(20):
            self.assertEqual(os.listdir(self.path('out')), [], 'left behind')
        vmm.counts_on()
