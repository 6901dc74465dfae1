"""Debian's own Linux kernel, as a file: fetched once as a package, never installed.

    path, version = fetch_linux()            # or fetch_linux("some.deb"), fetch_linux("vmlinuz")

The one place that fetches something. The kernel's image is kept in CACHE, which `make clean` leaves alone
and all clones share, so a second run needs no network. A package is loaded and unpacked in a folder of its
own beside it and comes into its place by one rename: what lies there is whole, whatever happened.

Used by tools/linux.py and tools/external.py.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

CACHE = pathlib.Path(os.environ.get("PAGODA_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pagoda")
PACKAGE = "linux-image-cloud-amd64"             # depends on the newest of them
NEEDED = 64 << 20                               # the package, some 27 MB, and the image, some 14 MB


class Trouble(Exception):
    """Cannot be done here; the text says what is missing and what to do."""


def run(*command, **options):
    """subprocess.run of a command that must succeed; Trouble names it otherwise."""
    try:
        return subprocess.run([str(word) for word in command], check=True, **options)
    except FileNotFoundError:
        raise Trouble(f"{command[0]} is missing; ./setup installs it") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr or b""
        said = (said if isinstance(said, str) else said.decode(errors="replace")).strip().split("\n")[-1]
        raise Trouble(f"{' '.join(str(word) for word in command)}: status {error.returncode}"
                      + (f": {said}" if said else "")) from None


def version_of(image):
    return image.name.partition("-")[2]


def by_number(image):
    return [int(n) for n in re.findall(r"\d+", image.name)]


def cached():
    """The newest kernel that is there already, or None; one of the 6.1 series goes before all others."""
    found = sorted((CACHE / "linux").glob("vmlinuz-*"), key=by_number)
    preferred = [image for image in found if version_of(image).startswith("6.1.")]
    return (preferred or found or [None])[-1]


def unpack(package, folder):
    """The kernel's image out of a package, to its place in the cache."""
    archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    run("tar", "-C", folder, "-x", "--wildcards", "./boot/vmlinuz-*", stdin=archive.stdout,
        capture_output=False, stderr=subprocess.PIPE)
    if archive.wait():
        raise Trouble(f"{package} is no whole Debian package")
    image = next(folder.glob("boot/vmlinuz-*"))
    target = CACHE / "linux" / image.name
    target.parent.mkdir(exist_ok=True)
    return image.rename(target)


def download(folder):
    """The package itself, by apt: it knows the mirror and checks the signatures."""
    depends = run("apt-cache", "depends", PACKAGE, capture_output=True, text=True).stdout
    name = re.search(r"Depends: (linux-image-\d\S+)", depends)
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name[1] if name else PACKAGE,
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return next(folder.glob("*.deb"))


def room(folder):
    free = shutil.disk_usage(folder).free
    if free < NEEDED:
        raise Trouble(f"{folder} has {free >> 20} MB free and {NEEDED >> 20} MB are needed to fetch and unpack "
                      "Linux's kernel; make room, or name another place in PAGODA_CACHE. Nothing was changed")


def fetch_linux(given=None, say=print):
    """
    (path, version) of a kernel's image: the given one (an image or a package), the one in the cache, or
    Debian's newest, which is fetched then. Trouble says why not; the cache is then as it was.
    """
    if given:
        given = pathlib.Path(given)
        if not given.is_file():
            raise Trouble(f"{given}: there is no such file")
        if given.suffix != ".deb":
            return given, version_of(given) or "of an unknown version"
    elif cached():
        return cached(), version_of(cached())
    folder = None
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        room(CACHE)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fetch-", dir=CACHE))
        if not given:
            say(f"fetching Debian's Linux kernel (once; it stays in {CACHE})")
        image = unpack(given or download(folder), folder)
        return image, version_of(image)
    except OSError as error:
        raise Trouble(f"{CACHE}: {error.strerror}: Linux's kernel cannot be kept there. Nothing was changed") from None
    except (Trouble, StopIteration) as error:
        if given or isinstance(error, Trouble) and "are needed" in str(error):
            raise Trouble(str(error) or f"{given}: there is no kernel in this package") from None
        raise Trouble(f"Debian's package {PACKAGE} could not be fetched: the first run needs the network, and "
                      "Debian 12 in apt's list of sources (`apt-get update` fetches it). Nothing was changed"
                      + (f"\n  {error}" if str(error) else "")) from None
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
