"""classes_of_apk.py APK JAR: turns an APK's code back into classes that a JVM runs.

Debian's enjarify does the work; it is a package of the system's Python, so this is run by that Python. Two things are
mended on the way: it reads `const-wide/32` without its sign, and it writes a class version of before Java 8, in which
interfaces could not have the code that R8 leaves in them.
"""

import struct
import sys
import zipfile

from enjarify import dalvikformats, main

CONST_WIDE_32 = 0x17
JAVA_8 = struct.pack(">HH", 0, 52)

decode_unsigned = dalvikformats.decode


def decode(shorts, position, opcode):
    end, values = decode_unsigned(shorts, position, opcode)
    if opcode == CONST_WIDE_32:
        values[-1] = dalvikformats.sign(values[-1], 32)
    return end, values


def turn_back(apk, jar):
    dalvikformats.decode = decode
    classes, errors = {}, {}
    with zipfile.ZipFile(apk) as archive:
        main.translate(archive.read("classes.dex"), main.options.PRETTY, classes, errors)
    if errors:
        sys.exit(f"{len(errors)} classes could not be turned back, the first: {next(iter(errors.items()))}")
    with zipfile.ZipFile(jar, "w") as archive:
        for name, data in classes.items():
            archive.writestr(name, data[:4] + JAVA_8 + data[8:])
    print(f"{len(classes)} classes")


turn_back(*sys.argv[1:])
