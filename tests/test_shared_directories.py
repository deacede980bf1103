"""Directories that several users can write: nobody gets at what another one's jobctl uses."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobctl import apps, config, jobfiles, ownership
from jobctl.errors import JobctlError, Unwritable
from jobctl.locks import Locks
from jobctl.registry import Registry
from tests.site import let_others_pass
from tests.test_locks import another_process_holds

needs_users = pytest.mark.skipif(os.getuid() != 0, reason="only root can make users")

ACT = """
import os, sys
from pathlib import Path
from jobctl import jobfiles
from jobctl.errors import JobctlError
from jobctl.locks import Locks
from jobctl.registry import Registry
try:
    directory = Path(sys.argv[1])
    jobfiles.ensure_private_directory(directory)
    with Locks(directory).held(8000, timeout=0):
        jobfiles.write_private(directory / "job_8000.key", b"secret")
    Registry(directory, Locks(directory)).read()
except JobctlError as error:
    sys.exit(str(error))
"""


@dataclass
class User:
    """An account of this host, and what it does."""

    account: pwd.struct_passwd
    interpreter: Path

    def python(self, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a script as this user, with jobctl in reach."""
        return self._run([self.interpreter, "-c", script, *arguments], Path("/"))

    def shell(self, line: str, directory: Path) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as this user."""
        return self._run(["/bin/sh", "-c", line], directory)

    def _run(
        self, command: Sequence[str | Path], directory: Path
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            user=self.account.pw_uid,
            group=self.account.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            cwd=directory,
        )

    def use(self, directory: Path) -> str:
        """Let jobctl use a directory for this user and return what it complained about."""
        return self.python(ACT, directory).stderr


@contextmanager
def user(name: str, installed_for_all: Path) -> Iterator[User]:
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    try:
        yield User(pwd.getpwnam(name), installed_for_all.parent / "python")
    finally:
        subprocess.run(["userdel", name], check=True)


@pytest.fixture(scope="module")
def victim(installed_for_all: Path) -> Iterator[User]:
    with user("jobctl-victim", installed_for_all) as made:
        yield made


@pytest.fixture(scope="module")
def attacker(installed_for_all: Path) -> Iterator[User]:
    with user("jobctl-attacker", installed_for_all) as made:
        yield made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a directory that all users can write, each only their own entries, as /tmp is."""
    let_others_pass(tmp_path)
    made = tmp_path / "base"
    made.mkdir()
    made.chmod(0o1777)
    return made


@pytest.fixture
def unshared_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


# A base that all can write


@needs_users
def test_each_user_has_a_directory_in_a_sticky_base(
    base: Path, victim: User, attacker: User
) -> None:
    for one in (victim, attacker):
        assert one.use(base / one.account.pw_name) == ""
        made = (base / one.account.pw_name).stat()
        assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (one.account.pw_uid, 0o700)
    mine = base / victim.account.pw_name
    for line in (f"ls {mine}", f"touch {mine}/x", f"mv {mine} {mine}.old", f"rm -rf {mine}/*"):
        assert attacker.shell(line, base).returncode != 0 or line.startswith("rm")
    assert sorted(path.name for path in mine.iterdir()) == ["connections.lock", "job_8000.key"]


@needs_users
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_base_in_which_others_could_swap_directories_is_refused(
    base: Path, victim: User, mode: int
) -> None:
    base.chmod(mode)
    os.chown(base, 0, 50)

    said = victim.use(base / victim.account.pw_name)

    if mode == 0o775:
        (base / victim.account.pw_name).mkdir(mode=0o700)
        os.chown(base / victim.account.pw_name, victim.account.pw_uid, -1)
        said = victim.use(base / victim.account.pw_name)
    assert f"{base} (mode {mode:04o}) can be written by others" in said
    assert f"chmod +t {base}" in said


@needs_users
def test_a_base_far_above_is_looked_at_too(base: Path, victim: User) -> None:
    below = base / "a" / "b" / victim.account.pw_name
    below.mkdir(parents=True)
    os.chown(below, victim.account.pw_uid, -1)
    assert victim.use(below) == ""
    (base / "a").chmod(0o777)

    assert f"{base}/a (mode 0777) can be written by others" in victim.use(below)


@needs_users
def test_a_base_of_another_user_is_refused_sticky_or_not(
    base: Path, victim: User, attacker: User
) -> None:
    """Who owns a sticky directory can swap all that is in it."""
    os.chown(base, attacker.account.pw_uid, -1)

    said = victim.use(base / victim.account.pw_name)

    assert f"{base} (mode 1777) belongs to uid {attacker.account.pw_uid}" in said


@needs_users
@pytest.mark.parametrize(
    "trick",
    [
        "mkdir -m 777 {mine}",
        "mkdir {mine} && mkfifo {mine}/connections.lock && chmod 777 {mine}",
        "ln -s {elsewhere} {mine}",
        "ln -s /etc {mine}",
        "ln -s {mine} {mine}",
        "touch {mine}",
        "mkfifo {mine}",
    ],
)
def test_what_was_put_there_before_is_refused_and_leads_nowhere(
    base: Path, victim: User, attacker: User, trick: str
) -> None:
    """Even where it leads to a directory of the victim's own."""
    mine, elsewhere = base / victim.account.pw_name, base / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, victim.account.pw_uid, victim.account.pw_gid)
    elsewhere.chmod(0o755)
    done = attacker.shell(trick.format(mine=mine, elsewhere=elsewhere), base)
    assert done.returncode == 0, done.stderr

    said = victim.use(mine)

    assert str(mine) in said
    assert "Traceback" not in said
    assert list(elsewhere.iterdir()) == []
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


@needs_users
def test_a_hard_link_to_a_file_of_the_victim_redirects_no_write(
    base: Path, victim: User, attacker: User
) -> None:
    """In a directory that was open to others for a while."""
    mine, letter = base / victim.account.pw_name, base / "letter"
    mine.mkdir()
    mine.chmod(0o777)
    os.chown(mine, victim.account.pw_uid, -1)
    letter.write_text("dear")
    os.chown(letter, victim.account.pw_uid, -1)
    letter.chmod(0o666)  # else the kernel refuses the link, see protected_hardlinks in proc(5)
    line = f"ln {letter} {mine}/job_8000.key.new && ln {letter} {mine}/job_8000.key"
    done = attacker.shell(line, base)
    assert done.returncode == 0, done.stderr

    assert victim.use(mine) == ""

    assert letter.read_text() == "dear"
    assert (mine / "job_8000.key").read_text() == "secret"
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700


SWAP = """
import os, sys
mine, trap = sys.argv[1:]
os.umask(0)
os.mkdir(trap, 0o777)
acts = [lambda: os.symlink(trap, mine), lambda: os.rename(mine, mine + ".old"),
        lambda: os.unlink(mine)]
for n in range(60_000):
    try:
        acts[n % 3]()
    except OSError:
        pass
"""


@needs_users
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_swapping_all_the_time_gets_nothing_written_elsewhere(
    base: Path, victim: User, attacker: User, mode: int
) -> None:
    base.chmod(mode)
    mine, trap = base / victim.account.pw_name, base / "trap"
    runner = threading.Thread(target=attacker.python, args=(SWAP, mine, trap))
    runner.start()
    said = []
    while runner.is_alive():
        said.append(victim.use(mine))
    runner.join()

    assert list(trap.iterdir()) == []
    assert len(said) > 1
    assert not any("Traceback" in one for one in said)
    if mode == 0o777:
        assert all(said), "it was used"
        # What is swapped at the very moment may be refused for what it is then.
        assert any("can be written by others" in one for one in said)


# What the directory may lie in


@pytest.mark.usefixtures("unshared_umask")
def test_usual_places_will_do(tmp_path: Path) -> None:
    """Below a sticky /tmp; below what a private group may write, as with a umask of 002."""
    for name in ("plain", "linked"):
        (tmp_path / name).mkdir()
    (tmp_path / "plain").chmod(0o2775)
    os.chown(tmp_path / "plain", -1, pwd.getpwuid(os.getuid()).pw_gid)
    (tmp_path / "linked/there").symlink_to("../plain")
    for path in ("plain/user", "linked/there/user", "linked/../plain/user", "deep/er/user"):
        jobfiles.ensure_private_directory(tmp_path / path)


def test_directories_that_are_made_on_the_way_can_be_written_by_nobody_else(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        jobfiles.ensure_private_directory(tmp_path / "a" / "b" / "user")
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b", "a/b/user")]
    assert modes == [0o755, 0o755, 0o700]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\u202eb", "a\udcffb"])
def test_a_directory_has_a_name_that_can_be_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobctlError, match="control characters") as caught:
        jobfiles.ensure_private_directory(tmp_path / name)

    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_a_private_group_is_one_that_nobody_else_is_in() -> None:
    assert ownership.private_group(4_000_000_000) is None
    for account in pwd.getpwall():
        group = ownership.private_group(account.pw_uid)
        assert group in (None, account.pw_gid)
        if account.pw_gid == 100:  # users, on Debian
            assert group is None


# The lock file


def tamper(path: Path, how: str, elsewhere: Path) -> None:
    """Put something else in the place of a file."""
    elsewhere.write_bytes(b"untouched")
    if how == "link":
        path.symlink_to(elsewhere)
    elif how == "dangling":
        path.symlink_to(elsewhere.with_name("absent"))
    elif how == "hard link":
        path.hardlink_to(elsewhere)
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "directory":
        path.mkdir()
    elif how == "another's":
        path.touch()
        os.chown(path, 65532, 65532)


TRICKS = ["link", "dangling", "hard link", "fifo", "directory"]
TRICKS += ["another's"] * (os.getuid() == 0)


@pytest.mark.parametrize("how", TRICKS)
def test_what_is_no_lock_file_is_refused_and_not_waited_for(
    home: Path, tmp_path: Path, how: str
) -> None:
    path = home / "connections.lock"
    tamper(path, how, tmp_path / "elsewhere")
    locks = Locks(home)

    for ask in (lambda: locks.held(8000, timeout=0).__enter__(), lambda: locks.busy(8000)):
        with pytest.raises(JobctlError, match=f"{path} .*move it away"):
            ask()

    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("how", TRICKS)
def test_what_is_no_record_is_not_followed_and_not_waited_for(
    home: Path, tmp_path: Path, how: str
) -> None:
    path = home / "connections.txt"
    tamper(path, how, tmp_path / "elsewhere")
    registry = Registry(home, Locks(home))

    assert registry.read() == {}
    with registry.edit():
        pass

    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert not (tmp_path / "absent").exists()
    assert stat.S_ISREG(path.lstat().st_mode)
    assert (path.lstat().st_uid, path.lstat().st_nlink) == (os.getuid(), 1)


def test_locks_that_processes_left_block_nobody(home: Path) -> None:
    """Killed, in the middle of it; and an old lock file, with whatever in it."""
    (home / "connections.lock").write_bytes(b"12345\n")
    for _ in range(20):
        with another_process_holds(home, 8000) as holder:
            holder.kill()
        with Locks(home).held(8000, timeout=0):
            pass


def test_a_directory_that_is_gone_is_told(home: Path) -> None:
    locks = Locks(home)
    home.rmdir()

    assert not locks.busy(8000)
    with pytest.raises(Unwritable, match="can't lock"), locks.held(8000):
        pass


# A file system that can't be written


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Return a user's directory with one job on a file system that is mounted read-only."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    directory = tmp_path / "mounted"
    directory.mkdir()
    mount: list[str | Path] = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=64k,mode=0700",
        "jobctl-test",
        directory,
    ]
    subprocess.run(mount, check=True)
    try:
        job = {"job_id": "job_8000", "app": "demo", "port": "8000", "protocol": "https"}
        job |= {"host": "h", "owner": "o", "job_root": f"{directory}/", "status": "stopped"}
        line = json.dumps(job | {"creation_timestamp": 1})
        (directory / "connections.txt").write_text(f"{line}\n")
        (directory / "connections.lock").touch()
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@needs_users
def test_records_on_a_read_only_file_system_can_be_read(read_only: Path) -> None:
    jobfiles.ensure_private_directory(read_only)
    registry = Registry(read_only, Locks(read_only))

    assert list(registry.read()) == ["job_8000"]
    assert not registry.locks.busy(8000)
    with pytest.raises(Unwritable, match="Read-only file system"):
        registry.drop("job_8000")


@needs_users
def test_a_file_system_that_is_full_is_told(read_only: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", read_only], check=True)
    (read_only / "connections.lock").unlink()
    with pytest.raises(OSError, match="No space"):
        (read_only / "ballast").write_bytes(b"x" * 2**17)
    jobfiles.ensure_private_directory(read_only)

    with pytest.raises(Unwritable):
        Registry(read_only, Locks(read_only)).put(
            next(iter(Registry(read_only, Locks(read_only)).read().values())).with_(restarts=1)
        )


# Configuration and modules


MODULE = "from jobctl.helpers import gen_cert, gen_config, get_launch_cmd, get_password\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "own" / "config.yaml"
    made.parent.mkdir()
    made.write_text("apps: {demo: {app_module_path: demo_module.py}}\n")
    (made.parent / "demo_module.py").write_text(MODULE)
    for path in (made, made.with_name("demo_module.py")):
        path.chmod(0o644)
    return made


def use(file: Path) -> None:
    apps.load("demo", config.load(file))


def including(file: Path) -> Path:
    """Return another file that includes this one."""
    outer = file.with_name("outer.yaml")
    outer.write_text(f"include: [{file}]\n")
    return outer


@pytest.mark.parametrize("name", ["config.yaml", "demo_module.py"])
@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664])
def test_a_file_that_others_can_write_is_refused(file: Path, name: str, mode: int) -> None:
    wrong = file.with_name(name)
    use(file)
    wrong.chmod(mode)
    os.chown(wrong, -1, 50 if os.getuid() == 0 else -1)
    if mode == 0o664 and os.getuid() != 0:
        return  # the group is one's own

    for way in (file, including(file)):
        says = rf"{wrong} \(mode {mode:04o}\) can be written by others.*chmod go-w {wrong}"
        with pytest.raises(JobctlError, match=says):
            use(way)


@needs_users
@pytest.mark.parametrize("name", ["config.yaml", "demo_module.py"])
def test_a_file_of_another_user_is_refused(file: Path, name: str) -> None:
    wrong = file.with_name(name)
    os.chown(wrong, 65532, 65532)

    for way in (file, including(file)):
        with pytest.raises(JobctlError, match=rf"{wrong} \(mode 0644\) belongs to uid 65532"):
            use(way)


def test_a_directory_that_others_can_write_is_refused_unless_sticky(file: Path) -> None:
    file.parent.chmod(0o777)
    with pytest.raises(JobctlError, match=rf"{file.parent} \(mode 0777\) .*chmod \+t"):
        use(file)

    file.parent.chmod(0o1777)
    use(file)


@pytest.mark.usefixtures("unshared_umask")
def test_what_one_s_private_group_can_write_will_do(file: Path) -> None:
    """As it comes with a umask of 002, where each user has a group."""
    for path in (file, file.with_name("demo_module.py"), file.parent):
        os.chown(path, -1, pwd.getpwuid(os.getuid()).pw_gid)
        path.chmod(path.stat().st_mode | 0o020)

    use(file)


def test_links_to_files_of_one_s_own_are_followed(file: Path, tmp_path: Path) -> None:
    """Many keep their configuration in a repository elsewhere."""
    link = tmp_path / "config.yaml"
    link.symlink_to(file)
    (tmp_path / "demo_module.py").symlink_to(file.with_name("demo_module.py"))

    use(link)


@needs_users
def test_a_link_of_another_user_is_not_followed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "config.yaml"
    link.symlink_to(file)
    os.lchown(link, 65532, 65532)

    with pytest.raises(JobctlError, match=f"{link} .* belongs to uid 65532"):
        use(link)


def test_a_module_s_bytecode_of_somebody_else_does_not_run(file: Path) -> None:
    """In a sticky directory anybody can put a ``__pycache__`` beside a module."""
    file.parent.chmod(0o1777)
    module = file.with_name("demo_module.py")
    evil = file.with_name("evil.py")
    evil.write_text("raise SystemExit('owned')" + " " * (len(MODULE) - 26) + "\n")
    script = "import py_compile, sys; py_compile.compile(*sys.argv[1:3], dfile=sys.argv[3])"
    tag = sys.implementation.cache_tag
    cache = file.parent / "__pycache__" / f"demo_module.{tag}.pyc"
    subprocess.run([sys.executable, "-c", script, evil, cache, module], check=True)
    forged = bytearray(cache.read_bytes())
    found = module.stat()
    forged[8:16] = int(found.st_mtime).to_bytes(4, "little") + found.st_size.to_bytes(4, "little")
    cache.write_bytes(forged)

    use(file)

    assert not [one for one in cache.parent.iterdir() if one != cache]


def test_a_module_that_never_ends_is_not_read(file: Path) -> None:
    file.with_name("demo_module.py").unlink()
    for kind in ("fifo", "device", "long"):
        module = file.with_name("demo_module.py")
        if kind == "fifo":
            os.mkfifo(module)
        elif kind == "device":
            module.symlink_to("/dev/zero")
        else:
            module.write_text("#" * (1 << 21))
        with pytest.raises(JobctlError, match=r"is no ordinary file|is longer than"):
            use(file)
        module.unlink()


@needs_users
def test_two_users_share_no_file_that_can_be_written(
    base: Path, victim: User, attacker: User
) -> None:
    for one in (victim, attacker):
        assert one.use(base / one.account.pw_name) == ""

    for one, other in ((victim, attacker), (attacker, victim)):
        for path in (base / one.account.pw_name).rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            check = f"test -r {path} || test -w {path}"
            assert other.shell(check, base).returncode == 1
