# SPDX-License-Identifier: GPL-3.0-or-later
"""Cores that QEMU itself wrote, read back by --core."""

import os
import xml.etree.ElementTree as ElementTree

import harness
from test_qmp import QmpCase

PPC64_XML = os.path.join(harness.TOP, 'tests', 'data', 'ppc64', 'target.xml')


class QemuCoreTest(QmpCase):
    def test_vectors_of_ppc64(self):
        """QEMU has given the notes of VMX and VSX to CORE, and to LINUX since."""
        values = {'vr1': bytes(range(1, 17)), 'vr31': bytes(range(17, 33)), 'vs1h': b'doublewd', 'f31': b'floating'}
        regnums = {reg.get('name'): int(reg.get('regnum')) for reg in ElementTree.parse(PPC64_XML).iter('reg')}
        machine = self.pseries()
        machine.stop()
        writer = self.rsp(machine.target())
        for name, value in values.items():
            self.assertEqual(writer.ask('P%x=%s' % (regnums[name], value.hex())), 'OK', name)
        writer.detach()
        core = self.path('core')
        machine.dump(core)
        reader = self.rsp(('--core', core))
        for name, value in values.items():
            with self.subTest(name):
                self.assertEqual(reader.ask('p%x' % regnums[name]), value.hex())
        reader.detach()
