#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Runs unit tests and system tests, several at once where asked to, names what is skipped, and ends with one line:
N passed, N failed, N skipped. The environment: VMGDBSERVER, the program under
test; BUILD, the build directory; REQUIRE_KVM=1, no KVM is a failure; SLOWNESS=N,
time-outs are N times longer and what is done many times is done N times less.
"""

import argparse
import collections
import functools
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True  # the tests import each other from the source tree

HERE = os.path.dirname(os.path.abspath(__file__))
TEST_SECONDS = 300
UNIT_SECONDS = 600


# What is run in one go: its name, and the function that takes say(line) and gives Counts.
Task = collections.namedtuple('Task', 'name run')
# How many of its tests passed and failed, and (name, reason) of those that were skipped.
Counts = collections.namedtuple('Counts', 'passed failed skipped')


class Timeout(Exception):
    pass


def on_alarm(signum, frame):
    raise Timeout('the test took longer than its time')


class Report(unittest.TestResult):
    """One line a test, as it ends, given to say()."""

    def __init__(self, seconds, may_skip, say):
        super().__init__()
        self.seconds, self.may_skip, self.say = seconds, may_skip, say
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
        self.say('%-4s %s (%.1f s)%s' % (word, name_of(test), took, text))

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

    def counts(self):
        return Counts(self.passed, len(self.failures) + len(self.errors),
                      [(name_of(test), reason) for test, reason in self.skipped])


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
    return [t for t in found if not patterns or any(p in t.id() for p in patterns)]


def shared_by(test):
    """Tests with equal ones run one after the other: those of a class that makes something for all of them."""
    import harness
    own = [c for c in type(test).__mro__ if c not in (harness.Case, unittest.TestCase)]
    return type(test) if any('setUpClass' in vars(c) for c in own) else test


def grouped(tests):
    groups = {}
    for test in tests:
        groups.setdefault(shared_by(test), []).append(test)
    return list(groups.values())


def run_tests(tests, args, say):
    signal.signal(signal.SIGALRM, on_alarm)
    report = Report(args.seconds, not args.no_skips, say)
    unittest.TestSuite(tests).run(report)
    return report.counts()


def run_unit(program, say):
    """One program made with libcheck."""
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
    say('%-4s %s (%d passed, %d failed)%s' % ('FAIL' if failed else 'ok', os.path.basename(program), passed, failed,
                                              '\n' + out if failed else ''))
    return Counts(passed, failed, [])


# ---- several at once ----

class Worker:
    """A process that runs tasks by their number, and sends what they say and what came of them."""

    def __init__(self, tasks, others):
        self.connection, theirs = multiprocessing.Pipe()
        self.task = None
        ours = [self.connection, *(w.connection for w in others)]
        self.process = multiprocessing.get_context('fork').Process(target=self._work, args=(tasks, theirs, ours))
        self.process.start()
        theirs.close()

    @staticmethod
    def _work(tasks, connection, parents):
        for end in parents:
            end.close()
        try:
            while True:
                connection.send(tasks[connection.recv()].run(connection.send))
        except EOFError:
            pass

    def give(self, number):
        self.task = number
        self.connection.send(number)

    def receive(self):
        """A line, counts, or None: it has ended in the middle of its task."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None

    def end(self):
        self.connection.close()
        self.process.join()


def run_parallel(tasks, jobs):
    """The counts of each task, in their order."""
    waiting, counts, workers = collections.deque(range(len(tasks))), {}, []

    def feed(worker):
        if waiting:
            worker.give(waiting.popleft())
        else:
            worker.end()
            workers.remove(worker)

    def add_worker():
        workers.append(Worker(tasks, workers))
        feed(workers[-1])

    for _ in range(min(jobs, len(tasks))):
        add_worker()
    while workers:
        for connection in multiprocessing.connection.wait([w.connection for w in workers]):
            worker = next(w for w in workers if w.connection is connection)
            said, number = worker.receive(), worker.task
            if isinstance(said, str):
                print(said, flush=True)
                continue
            if said is None:
                worker.end()
                workers.remove(worker)
                print('FAIL %s: its process ended, with status %s' % (tasks[worker.task].name, worker.process.exitcode),
                      flush=True)
                said = Counts(0, 1, [])
                if waiting:
                    add_worker()
            else:
                feed(worker)
            counts[number] = said
    return [counts[number] for number in range(len(tasks))]


def run_all(tasks, jobs):
    if jobs > 1:
        return run_parallel(tasks, jobs)
    return [task.run(lambda line: print(line, flush=True)) for task in tasks]


def run_again(tasks, counts):
    """Those that failed, each by itself: on a busy machine a guest may be too slow."""
    for number, task in enumerate(tasks):
        if counts[number].failed:
            print('again: %s' % task.name, flush=True)
            counts[number], = run_all([task], 1)
    return counts


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('-k', metavar='PATTERN', action='append', default=[], help='only tests whose name has this')
    parser.add_argument('--dir', metavar='DIR', action='append',
                        help='where the tests are, which may use the modules of this directory; can be repeated')
    parser.add_argument('--no-skips', action='store_true', help='a test that is skipped is a failure')
    parser.add_argument('--unit', metavar='PROGRAM', action='append', default=[], help='a unit test to run first')
    parser.add_argument('--again', action='store_true', help='what fails is run once more, and counts as it is then')
    parser.add_argument('--list', action='store_true', help='print the names of the system tests')
    parser.add_argument('--jobs', type=int, default=1, help='how many to run at once')
    parser.add_argument('--seconds', type=int, default=TEST_SECONDS, help='time for one system test')
    return parser.parse_args()


def main():
    args = arguments()
    tests = system_tests([os.path.abspath(d) for d in args.dir or [HERE]], args.k)
    if args.list:
        for test in tests:
            print(name_of(test))
        return 0
    unknown = [k for k in args.k if not any(k in name for name in [*args.unit, *map(name_of, tests)])]
    if unknown:
        print('no test has this in its name: %s' % ', '.join(unknown), file=sys.stderr)
        return 2
    tasks = [Task(p, functools.partial(run_unit, p)) for p in args.unit if not args.k or any(k in p for k in args.k)]
    tasks += [Task(name_of(group[0]), functools.partial(run_tests, group, args)) for group in grouped(tests)]
    # Ignored, as in a shell's background or under nohup, they would be in all that is started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    counts = run_all(tasks, args.jobs)
    if args.again:
        counts = run_again(tasks, counts)
    skipped = [skip for c in counts for skip in c.skipped]
    for skip in skipped:
        print('skipped: %s: %s' % skip)
    failed = sum(c.failed for c in counts)
    print('%d passed, %d failed, %d skipped' % (sum(c.passed for c in counts), failed, len(skipped)))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
