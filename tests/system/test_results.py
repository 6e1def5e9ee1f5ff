# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program is told of a dump, and what it can ask for: --json, --sha256, --estimate, limits, streams."""

import hashlib
import json
import os
import subprocess
import time

import elfcore
import harness


class TestResults(harness.Case):
    def setUp(self):
        super().setUp()
        self.vmm = self.start_vmm()
        self.path_ = self.path('vmcore')

    def start_vmm(self):
        harness.require_kvm()
        vmm = harness.TestVmm()
        self.addCleanup(vmm.close)
        return vmm

    def dump_json(self, *words, status=0, **kw):
        done = self.run_server('dump', '--json', *harness.target_of(self.vmm), *words, **kw)
        self.assertEqual(done.status, status, done)
        self.assertEqual(done.out.count('\n'), 1, done)
        self.vmm.counts_on()
        return json.loads(done.out)

    def digest(self, path):
        with open(path, 'rb') as f:
            return hashlib.sha256(f.read()).hexdigest()

    def whole(self):
        """The ELF vmcore's bytes, and its length and that of RAM."""
        plain = self.path('plain')
        self.dump(self.vmm, plain)
        with elfcore.Core(plain) as core:
            return os.path.getsize(plain), sum(load.memsz for load in core.loads)

    def test_formats(self):
        length, ram = self.whole()
        for name in 'elf', 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'kdump-zstd':
            with self.subTest(format=name):
                said = self.dump_json('--format', name, '--sha256', self.path_)
                self.assertEqual((said['status'], said['path'], said['format']), ('completed', self.path_, name))
                self.assertEqual(said['bytes'], os.path.getsize(self.path_))
                self.assertEqual(said['bytes'] == length, name == 'elf')
                self.assertLessEqual(said['written_bytes'], said['bytes'])
                self.assertEqual(said['sha256'], self.digest(self.path_))
                pages = said['pages']
                self.assertEqual(pages['page_bytes'], 4096)
                self.assertEqual(sum(pages[k] for k in ('written', 'zero', 'untouched', 'left_out')), ram // 4096)
                self.assertGreater(pages['written'], 0)
                self.assertGreater(said['pause_seconds'], 0)
                self.assertGreater(said['seconds'], 0)

    def test_snapshot_pauses_less(self):
        """Than it takes to write at this rate; a full pause does not."""
        for words, shorter in ((('--snapshot',), True), ((), False)):
            said = self.dump_json(*words, '--bandwidth', '8M', self.path_)
            self.assertEqual(said['pause_seconds'] < said['seconds'], shorter, said)

    def test_failures(self):
        for words, text in (((self.path('no/such/file'),), 'No such file'),
                            (('--bandwidth', '1K', '--timeout', '1', self.path_), '1 s')):
            with self.subTest(words=words):
                said = self.dump_json(*words, status=1)
                self.assertEqual(said['status'], 'failed')
                self.assertIn(text, said['error'])
                self.assertFalse(os.path.exists(self.path_))
        done = self.run_server('dump', '--json', '--attach', '1', self.path_)
        self.assertEqual((done.status, json.loads(done.out)['status']), (1, 'failed'))

    def test_usage(self):
        for words in (('--json', '-'), ('--json', 'fd:1'), ('--estimate', '--on-panic'), ('--timeout', '0', 'x'),
                      ('--bandwidth', '10X', 'x'), ('--bandwidth', '0', 'x'), ('--format', 'kdump-zlib', 'x.gz'),
                      ('--format', 'kdump-zlib', '-p', 'x'), ('--flatten', 'x'), ('--exclude', 'all', 'x')):
            with self.subTest(words=words):
                done = self.run_server('dump', *words, *harness.target_of(self.vmm))
                self.assertEqual(done.status, 2, done)
                self.assertEqual(done.err.count('\n'), 1, done)

    def test_cancelled(self):
        proc = self.popen('dump', '--json', '--bandwidth', '1K', *harness.target_of(self.vmm), self.path_,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        harness.wait_for(self.stands_still, 20, 'the guest is paused')
        proc.terminate()
        out, _ = proc.communicate(timeout=harness.patience(20))
        self.assertEqual((proc.returncode, json.loads(out)['status']), (1, 'cancelled'))
        self.assertFalse(os.path.exists(self.path_))
        self.vmm.counts_on()

    def stands_still(self):
        before = self.vmm.peek_counters()
        time.sleep(0.2)
        return harness.traced(self.vmm) and self.vmm.peek_counters() == before

    def test_bandwidth(self):
        """A limit, and no more than that: it takes at least as long as that many bytes do."""
        start = time.monotonic()
        said = self.dump_json('--bandwidth', '8M', self.path_)
        self.assertGreaterEqual(time.monotonic() - start, said['written_bytes'] / (8 << 20) - 1)

    def test_estimate(self):
        """Nothing is written; what is said is what a dump then has, roughly where it is compressed."""
        files = os.listdir(os.path.dirname(self.path_))
        for name in 'elf', 'kdump-zlib':
            said = self.dump_json('--estimate', '--format', name)
            self.assertEqual(said['status'], 'estimated')
            self.assertEqual(os.listdir(os.path.dirname(self.path_)), files)
            done = self.dump_json('--format', name, self.path_)
            os.unlink(self.path_)
            if name == 'elf':
                self.assertEqual(said['bytes'], done['bytes'])
            self.assertLess(said['written_bytes'], 2 * done['written_bytes'])
            self.assertGreater(said['written_bytes'], done['written_bytes'] / 2)
        text = self.check_ok(self.run_server('dump', '--estimate', *harness.target_of(self.vmm))).out
        self.assertRegex(text, r'^about \S+ \S+ to write of a file of \S+ \S+, in about \d+ s')

    def test_streams(self):
        """What is unpacked is the file that would be there without."""
        plain = self.path('plain')
        paused = harness.TestVmm('--paused')
        self.addCleanup(paused.close)
        self.dump(paused, plain)
        for suffix, tool in ('gz', 'gzip'), ('zst', 'zstd'):
            harness.require_program(tool)
            packed = self.path('vmcore.' + suffix)
            self.dump(paused, packed)
            unpacked = subprocess.run([tool, '-dqc', packed], stdout=subprocess.PIPE, check=True).stdout
            self.assertEqual(hashlib.sha256(unpacked).hexdigest(), self.digest(plain), suffix)

    def test_pipe(self):
        """A kdump file needs to seek; flattened it does not."""
        words = 'dump', '-q', '--format', 'kdump-zlib', *harness.target_of(self.vmm), '-'
        done = subprocess.run([harness.SERVER, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env())
        self.assertEqual((done.returncode, done.stdout), (1, b''), done)
        self.assertIn(b'--flatten', done.stderr)
        done = subprocess.run([harness.SERVER, '--flatten', *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout[:12], b'makedumpfile')
        self.vmm.counts_on()
