# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader of the bitmaps of makedumpfile's compressed files, written for the tests from its IMPLEMENTATION page."""

import struct

SIGNATURE = b'KDUMP   '
HEADER_AT = 428  # of struct disk_dump_header: block_size, sub_hdr_size, bitmap_blocks


class Bitmaps:
    """
    memory and kept: a bit for each page frame, from the lowest of byte 0 on; that there is memory,
    and that the file holds it.
    """

    def __init__(self, path, order):
        with open(path, 'rb') as f:
            head = f.read(HEADER_AT + 12)
            if not head.startswith(SIGNATURE):
                raise ValueError('%s is no compressed kdump file' % path)
            self.page_bytes, sub_header, blocks = struct.unpack_from(order + 'iiI', head, HEADER_AT)
            f.seek((1 + sub_header) * self.page_bytes)
            data = f.read(blocks * self.page_bytes)
        self.memory, self.kept = data[:len(data) // 2], data[len(data) // 2:]

    def left_out(self):
        """How many frames are memory that is not in the file."""
        return sum(bin(m & ~k & 0xff).count('1') for m, k in zip(self.memory, self.kept))

    def runs(self, start, end):
        """(start, end, kept) of physical memory, each as long as it can be; what has no bit is kept."""
        at = start
        while at < end:
            here, kept = at, self._keeps(at)
            while at < end and self._keeps(at) == kept:
                at = (at // self.page_bytes + 1) * self.page_bytes
            yield here, min(at, end), kept

    def _keeps(self, gpa):
        pfn = gpa // self.page_bytes
        byte, bit = divmod(pfn, 8)
        return byte >= len(self.kept) or not self.memory[byte] >> bit & 1 or bool(self.kept[byte] >> bit & 1)
