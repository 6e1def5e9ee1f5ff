# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runner of these tests says of them."""

import contextlib
import io
import os
import re
import unittest

import run


class TestReport(unittest.TestCase):
    def test_each_subtest_has_its_own_traceback(self):
        class Fails(unittest.TestCase):
            def runTest(self):
                for kind in (ValueError, AssertionError, KeyError, AssertionError):
                    with self.subTest(kind=kind.__name__):
                        raise kind('the end')

        said = []
        Fails().run(run.Report(60, True, said.append))
        parts = re.split('(?m)^FAIL ', '\n'.join(said))[1:]
        self.assertEqual(len(parts), 4)
        for part in parts:
            kind = re.search(r"kind='(\w+)'", part).group(1)
            self.assertRegex(part, '(?m)^%s: ' % kind)

    def test_a_process_that_ends(self):
        """It fails the task that it had; the others have theirs done."""
        tasks = [run.Task('good', lambda say: run.Counts(1, 0, [])), run.Task('bad', lambda say: os._exit(3)),
                 run.Task('also good', lambda say: run.Counts(2, 0, []))]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            counts = run.run_all(tasks, 2)
        self.assertEqual(sorted((c.passed, c.failed) for c in counts), [(0, 1), (1, 0), (2, 0)])
        self.assertEqual(said.getvalue(), 'FAIL bad: its process ended, with status 3\n')
