# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux as a guest of the emulated machine's KVM."""

import guests

BOOTS = 8


def boot(**kw):
    """The emulated SVM loses a guest at times while it boots: before anybody has attached to it."""
    for left in range(BOOTS - 1, -1, -1):
        try:
            return guests.Linux('amd64', accel='kvm', **kw)
        except AssertionError as e:
            if not left:
                raise
            print('once more: %s' % str(e).splitlines()[0], flush=True)
