# SPDX-License-Identifier: GPL-3.0-or-later
"""The golden target descriptions, read by a gdb that knows every architecture."""

import glob
import os
import subprocess
import unittest
import xml.etree.ElementTree as ElementTree

import harness

DATA = os.path.join(harness.TOP, 'tests', 'data')


class TargetXmlTest(unittest.TestCase):
    def test_gdb_takes_each_without_a_warning(self):
        """A description that gdb rejects is a warning, and its system registers are missing."""
        harness.require_program('gdb-multiarch')
        for path in sorted(glob.glob(os.path.join(DATA, '*', 'target*.xml'))):
            with self.subTest(os.path.relpath(path, DATA)):
                target = ElementTree.parse(path).getroot()
                proc = subprocess.run(
                    ['gdb-multiarch', '-nx', '-batch', '-ex', 'set architecture ' + target.findtext('architecture'),
                     '-ex', 'set tdesc filename ' + path, '-ex', 'maint print registers'],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(proc.stderr, '')
                seen = {line.split()[0] for line in proc.stdout.splitlines() if line.split()}
                for feature in target.iter('feature'):
                    if feature.get('name').startswith('org.vmgdbserver.'):
                        self.assertLessEqual({reg.get('name') for reg in feature.iter('reg')}, seen)
