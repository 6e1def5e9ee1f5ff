#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Runs unit tests and system tests, names what is skipped, and ends with one line:
N passed, N failed, N skipped. The environment: VMGDBSERVER, the program under
test; BUILD, the build directory; REQUIRE_KVM=1, no KVM is a failure; SLOWNESS=N,
time-outs are N times longer and what is done many times is done N times less.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True  # the tests import each other from the source tree

HERE = os.path.dirname(os.path.abspath(__file__))
TEST_SECONDS = 180
UNIT_SECONDS = 600


class Timeout(Exception):
    pass


def on_alarm(signum, frame):
    raise Timeout('the test took longer than its time')


class Report(unittest.TestResult):
    """One line a test, as it ends."""

    def __init__(self, seconds, may_skip):
        super().__init__()
        self.seconds, self.may_skip = seconds, may_skip
        self.passed = 0
        self.start = 0

    def startTest(self, test):
        super().startTest(test)
        self.start = time.monotonic()
        signal.alarm(self.seconds)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def _line(self, word, test, text=''):
        took = time.monotonic() - self.start if self.start else 0
        print('%-4s %s (%.1f s)%s' % (word, name_of(test), took, text), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self._line('ok', test)

    def addSkip(self, test, reason):
        if self.may_skip:
            super().addSkip(test, reason)
            self._line('skip', test, ': ' + reason)
        else:
            self.failures.append((test, reason))
            self._line('FAIL', test, ': would be skipped: ' + reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line('FAIL', test, '\n' + self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._line('FAIL', test, '\n' + self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            found = self.failures if issubclass(err[0], test.failureException) else self.errors
            self._line('FAIL', subtest, '\n' + found[-1][1])


def name_of(test):
    """module.Class.test, with what a subtest adds to it."""
    return test.id()


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def system_tests(directories, patterns):
    sys.path[:0] = [HERE, *directories]
    found = [t for d in directories for t in flatten(unittest.TestLoader().discover(d, 'test_*.py', d))]
    return unittest.TestSuite(t for t in found if not patterns or any(p in t.id() for p in patterns))


def run_unit(program):
    """(passed, failed) of one program made with libcheck."""
    try:
        done = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=UNIT_SECONDS)
        status, out = done.returncode, done.stdout.decode(errors='replace')
    except subprocess.TimeoutExpired as e:
        status, out = -1, (e.stdout or b'').decode(errors='replace') + '\ntook longer than its time\n'
    counts = [tuple(map(int, m)) for m in
              re.findall(r'Checks: (\d+), Failures: (\d+), Errors: (\d+)', out)]
    failed = sum(f + e for _, f, e in counts)
    passed = sum(c for c, _, _ in counts) - failed
    if status and not failed:
        failed = 1
    print('%-4s %s (%d passed, %d failed)' % ('FAIL' if failed else 'ok', os.path.basename(program), passed,
                                               failed), flush=True)
    if failed:
        print(out)
    return passed, failed


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('-k', metavar='PATTERN', action='append', default=[], help='only tests whose name has this')
    parser.add_argument('--dir', metavar='DIR', action='append',
                        help='where the tests are, which may use the modules of this directory; can be repeated')
    parser.add_argument('--no-skips', action='store_true', help='a test that is skipped is a failure')
    parser.add_argument('--unit', metavar='PROGRAM', action='append', default=[], help='a unit test to run first')
    parser.add_argument('--list', action='store_true', help='print the names of the system tests')
    parser.add_argument('--seconds', type=int, default=TEST_SECONDS, help='time for one system test')
    return parser.parse_args()


def main():
    args = arguments()
    suite = system_tests([os.path.abspath(d) for d in args.dir or [HERE]], args.k)
    if args.list:
        for test in flatten(suite):
            print(test.id())
        return 0
    unknown = [k for k in args.k if not any(k in name for name in [*args.unit, *map(name_of, flatten(suite))])]
    if unknown:
        print('no test has this in its name: %s' % ', '.join(unknown), file=sys.stderr)
        return 2
    signal.signal(signal.SIGALRM, on_alarm)
    units = [run_unit(p) for p in args.unit if not args.k or any(k in p for k in args.k)]
    report = Report(args.seconds, not args.no_skips)
    suite.run(report)
    for test, reason in report.skipped:
        print('skipped: %s: %s' % (name_of(test), reason))
    passed = report.passed + sum(p for p, _ in units)
    failed = len(report.failures) + len(report.errors) + sum(f for _, f in units)
    print('%d passed, %d failed, %d skipped' % (passed, failed, len(report.skipped)))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
