"""Copies what the command needs to run, and nothing else, into the directory that becomes the image.

Runs in the build stage with the base's interpreter: ``python3 rootfs.py ROOT VENV``. Not copied are the shell, the package
managers, the names below, and Python sources: bytecode alone starts a little faster and is half the size. Copied for scanners:
os-release, Debian's records of its packages, the metadata of Python packages.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

EXCLUDED_FROM_STDLIB = (
    *("_pyrepl", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "sitecustomize.py", "test", "tkinter", "turtle*", "venv"),
    *(
        "_ctypes_test*",
        "_curses*",
        "_dbm*",
        "_gdbm*",
        "_test*",
        "_tkinter*",
        "_xxtestfuzz*",
        "curses",
        "readline*",
        "xxlimited*",
    ),
    *("__pycache__", "config-*", "dist-packages", "site-packages"),
)
EXCLUDED_FROM_VENV = ("__pycache__", "include", "lib64", "pip", "*.c", "*.h", "*.pxd", "*.pyi", "*.pyx", "[Aa]ctivate*")
SYSTEM = (
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/nsswitch.conf",
    "/etc/ssl",
    "/usr/lib/os-release",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
)
# glibc loads it by its name to end a thread; no ELF header refers to it.
LOADED_BY_NAME = "libgcc_s.so.1"
USER = 65532
TIME = 315532800  # the first of 1980, the oldest that every archive can store


def collect(root: Path, venv: Path) -> None:
    """Fill the root."""
    root.mkdir()
    for directory in ("lib", "lib64"):
        if Path("/", directory).is_symlink():
            (root / directory).symlink_to(Path("/", directory).readlink())
    copy_code(Path(sysconfig.get_path("stdlib")), root, EXCLUDED_FROM_STDLIB)
    copy_code(venv, root, EXCLUDED_FROM_VENV)
    interpreter = Path(sys.executable).resolve()
    copies = [interpreter, *map(Path, SYSTEM)]
    for path in copies:
        copy(path, root)
    # The virtual environment links to this name.
    inside(root, Path(sys.executable)).symlink_to(interpreter.name)
    libraries = shared_libraries(root)
    for library in libraries:
        copy(library, root)
    # Records libraries outside the default directories for the loader.
    subprocess.run(["ldconfig", "-r", root], check=True)
    # A cache of inode numbers and times, which differ between builds.
    shutil.rmtree(root / "var/cache/ldconfig", ignore_errors=True)
    record_packages(root, [*copies, *libraries])
    create_directories(root)
    set_times(root)


def inside(root: Path, path: Path) -> Path:
    """Return where a path of the base is in the root."""
    return root / path.relative_to("/")


def copy(path: Path, root: Path) -> None:
    """Copy a file or a tree to the same path."""
    target = inside(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(path, target)


def copy_code(tree: Path, root: Path, excluded: tuple[str, ...]) -> None:
    """Copy a tree of Python code as bytecode that is never compared with its source, so that builds are reproducible.

    One process compiles all files in order: bytecode depends a little on what its process has compiled before.
    """
    target = inside(root, tree)
    shutil.copytree(tree, target, symlinks=True, ignore=shutil.ignore_patterns(*excluded))
    never_compared = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(
        target, maxlevels=99, quiet=1, legacy=True, stripdir=root, prependdir="/", workers=1, invalidation_mode=never_compared
    ):
        raise SystemExit(1)
    for source in target.rglob("*.py"):
        source.unlink()


def shared_libraries(root: Path) -> list[Path]:
    """Return the libraries that the ELF files of the root need, including the loader."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path)]
    # ldd fails for a statically linked file, which is not an error here.
    listing = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    if missing := re.findall(r"\S+ => not found", listing):
        raise SystemExit("\n".join(missing))
    found = {Path(path).parent.resolve() / Path(path).name for path in re.findall(r"(/\S+) \(0x", listing)}
    libc = next(path for path in found if path.name.startswith("libc.so."))
    found.add(libc.with_name(LOADED_BY_NAME))
    return sorted(path for path in found if not path.is_relative_to(root))


def is_elf(path: Path) -> bool:
    """Whether a file is a program or a library."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def record_packages(root: Path, files: list[Path]) -> None:
    """Write the record of each Debian package of the files to the directory that scanners read in images without dpkg."""
    # Debian moved /lib to /usr/lib; some of its records still have the old path.
    spellings = {
        str(spelling) for path in files for spelling in (path, path.resolve(), str(path.resolve()).removeprefix("/usr"))
    }
    search = ["dpkg-query", "--search", *sorted(spellings)]
    listing = subprocess.run(search, capture_output=True, text=True, check=False).stdout
    records = root / "var/lib/dpkg/status.d"
    records.mkdir(parents=True)
    for package in sorted(set(re.findall(r"^([^\s:,]+)", listing, re.MULTILINE))):
        status = subprocess.run(["dpkg-query", "--status", package], capture_output=True, check=True)
        (records / package).write_bytes(status.stdout)


def create_directories(root: Path) -> None:
    """Create the user and its two writable directories, used when the root is writable or a volume is mounted."""
    users = {"root": (0, "/"), "waiter": (USER, "/var/lib/waiter")}
    passwd = [f"{name}:x:{number}:{number}::{home}:/sbin/nologin\n" for name, (number, home) in users.items()]
    group = [f"{name}:x:{number}:\n" for name, (number, _) in users.items()]
    (root / "etc/passwd").write_text("".join(passwd), encoding="ascii")
    (root / "etc/group").write_text("".join(group), encoding="ascii")
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    state = root / "var/lib/waiter"
    state.mkdir()
    os.chown(state, USER, USER)


def set_times(root: Path) -> None:
    """Set the same time for every file: the history of an image has a digest of what is copied, with its times."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (TIME, TIME), follow_symlinks=False)


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]))
