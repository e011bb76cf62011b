#!/usr/bin/env python3
"""Makes rash.jpg: a schematic rash, lying on its side, with all that a cheap phone would say about it. Needs Pillow (PyPI)."""

import os

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

picture = Image.new("RGB", (48, 32), (150, 100, 80))
for x in range(48):
    for y in range(32):
        distance = (x - 24) ** 2 + (y - 16) ** 2
        if distance < 90:
            picture.putpixel((x, y), (190, 70 + distance // 3, 60))
exif = Image.Exif()
exif[0x0112] = 6
exif[0x010F], exif[0x0110], exif[0x010E] = "Cheap Phones Ltd", "A12", "Amina in Mtwapa"
place = exif.get_ifd(0x8825)
place[1], place[2] = "S", tuple(IFDRational(n) for n in (3, 57, 0))
place[3], place[4] = "E", tuple(IFDRational(n) for n in (39, 44, 24))
file = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rash.jpg")
picture.save(file, quality=70, exif=exif, comment=b"taken in Mtwapa", progressive=True)
