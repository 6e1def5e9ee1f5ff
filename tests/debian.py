# SPDX-License-Identifier: GPL-3.0-or-later
"""
Debian's packages of any architecture, for tests: apt with a state of its own, so
that the machine's indexes and architectures stay as they are. DEBIAN_MIRROR is
the mirror to use.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile

MIRROR = os.environ.get('DEBIAN_MIRROR', 'http://deb.debian.org/debian')
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
ATTEMPTS = 3

# The machine's proxies and certificates stay in force; its hooks, its indexes and its architectures do not.
APT_CONF = '''\
#clear APT::Architectures;
#clear APT::Update;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::CNF;
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
APT::Default-Release "{release}";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Dir "{root}/";
Dir::State::status "{root}/status";
'''


class Failed(Exception):
    pass


def check_tools(path):
    """Whether packages can be had here, for what shall be in path."""
    missing = [t for t in ('apt-get', 'apt-cache', 'dpkg-deb') if not shutil.which(t)]
    if missing:
        raise Failed('%s is made of Debian packages, and this system lacks %s: install apt and dpkg, or copy '
                     'it from a Debian or Ubuntu machine' % (path, ', '.join(missing)))
    if not os.path.exists(KEYRING):
        raise Failed('no %s to check packages by: install debian-archive-keyring' % KEYRING)


class Apt:
    """
    apt for one architecture, whose state is all below one directory. A later suite
    is used where it is named, or where it is the release that is asked for.
    """

    def __init__(self, arch, root, suites=('bookworm',), release='bookworm'):
        self.root = root
        self.conf = os.path.join(root, 'apt.conf')
        for name in ('etc/apt', 'var/lib/apt/lists/partial', 'var/cache/apt/archives/partial'):
            os.makedirs(os.path.join(root, name))
        self._write('apt.conf', APT_CONF.format(arch=arch, root=root, release=release))
        self._write('status', '')
        sources = ['deb [signed-by=%s] %s %s main\n' % (KEYRING, MIRROR, suite) for suite in suites]
        self._write('etc/apt/sources.list', ''.join(sources))
        self.run('apt-get', 'update', '--error-on=any')

    def _write(self, name, text):
        with open(os.path.join(self.root, name), 'w') as f:
            f.write(text)

    def run(self, program, *args):
        """What it prints; tried again, as mirrors and networks have bad moments."""
        command = [program, '-q', '-c', self.conf, *args]
        for _ in range(ATTEMPTS):
            done = subprocess.run(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL='C'))
            if not done.returncode:
                return done.stdout.decode()
        said = done.stderr.decode(errors='replace').splitlines() or ['status %d' % done.returncode]
        raise Failed('%s: %s' % (' '.join([program, *args]), next((l for l in said if l.startswith('E: ')), said[-1])))

    def field(self, package, name):
        shown = self.run('apt-cache', 'show', '--no-all-versions', package)
        match = re.search(r'^%s: (.*)$' % name, shown, re.M)
        if not match:
            raise Failed('package %s has no %s' % (package, name))
        return match.group(1)

    def download(self, package):
        """The path of the .deb of NAME, NAME=VERSION or NAME/SUITE."""
        self.run('apt-get', 'download', package)
        name = re.split('[=/]', package)[0]
        found = [f for f in os.listdir(self.root) if f.startswith(name + '_') and f.endswith('.deb')]
        return os.path.join(self.root, found[0])

    def download_all(self, packages):
        """The paths of the .debs of these packages and of all that they depend on."""
        self.run('apt-get', 'install', '-y', '--no-install-recommends', '--download-only', *packages)
        archives = os.path.join(self.root, 'var/cache/apt/archives')
        return sorted(os.path.join(archives, f) for f in os.listdir(archives) if f.endswith('.deb'))


def extract_all(deb, paths):
    """Files out of a package, of which the debug ones hold gigabytes; paths: a pattern of each, and where it goes."""
    missing = dict(paths)
    unpacker = subprocess.Popen(['dpkg-deb', '--fsys-tarfile', deb], stdout=subprocess.PIPE)
    try:
        with tarfile.open(fileobj=unpacker.stdout, mode='r|') as tar:
            for member in tar:
                found = [p for p in missing if member.isfile() and re.fullmatch(p, member.name)]
                if found:
                    with tar.extractfile(member) as source, open(missing.pop(found[0]), 'wb') as out:
                        shutil.copyfileobj(source, out, 1 << 20)
                if not missing:
                    return
    except tarfile.TarError as e:
        raise Failed('%s: %s' % (os.path.basename(deb), e))
    finally:
        unpacker.kill()
        unpacker.stdout.close()
        unpacker.wait()
    raise Failed('%s has no file %s' % (os.path.basename(deb), next(iter(missing))))


def extract(deb, pattern, path):
    extract_all(deb, {pattern: path})


def unpack(deb, directory):
    done = subprocess.run(['dpkg-deb', '-x', deb, directory], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise Failed(done.stderr.decode(errors='replace').strip())


def make_relative(root):
    """Absolute links, which would lead out of the root, lead inside."""
    for folder, dirs, files in os.walk(root):
        for path in (os.path.join(folder, name) for name in dirs + files):
            target = os.readlink(path) if os.path.islink(path) else ''
            if target.startswith('/'):
                os.unlink(path)
                os.symlink(os.path.relpath(root + target, folder), path)


def unpack_all(apt, packages, root):
    """These packages and all that they depend on, so that programs of another architecture find it there."""
    for deb in apt.download_all(packages):
        unpack(deb, root)
    make_relative(root)


@contextlib.contextmanager
def scratch(path):
    """A new directory beside path, removed in the end."""
    work = path + '.part'
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_locked(name, cache, work):
    """The exit status of the script name, which calls work and is alone with its cache while that runs."""
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    try:
        os.makedirs(cache, exist_ok=True)
        with open(os.path.join(cache, 'lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            work()
    except (Failed, OSError) as e:
        print('%s: %s' % (name, e), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
