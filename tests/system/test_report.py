# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runner of these tests says of them."""

import contextlib
import io
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

        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            Fails().run(run.Report(60, True))
        parts = re.split('(?m)^FAIL ', said.getvalue())[1:]
        self.assertEqual(len(parts), 4)
        for part in parts:
            kind = re.search(r"kind='(\w+)'", part).group(1)
            self.assertRegex(part, '(?m)^%s: ' % kind)
