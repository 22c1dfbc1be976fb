"""Fuzzes the readers: python3 tests/fuzz/run.py [--seconds 60] [target …]

Unpacks the inputs that are kept in tests/fuzz/kept/<target>.txt below the target directory, runs each target for that many
seconds with the nightly toolchain, and exits 1 when one of them finds something; the input is then in
target/fuzz/artifacts/<target>/. With --keep, the smallest set of inputs that reaches as much code replaces what was kept, and
findings are added to it, so that `cargo test` replays them from then on.
"""

import argparse
import hashlib
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET_DIR = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
WORK = TARGET_DIR / "fuzz"
TARGETS = ["json", "message", "pairs", "metadata", "yaml", "config", "sse"]
# Kept inputs are read by people too.
INPUT_BYTES_MAX = 2048
INPUTS_MAX = 400


def escape(data: bytes) -> str:
    return "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x5C else f"\\x{b:02x}" for b in data)


def unescape(line: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), line.encode("ascii"))


def kept(target: str) -> list[bytes]:
    path = HERE / "kept" / f"{target}.txt"
    return [unescape(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def put(directory: pathlib.Path, inputs: list[bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)


def cargo_fuzz() -> list[str]:
    tools = TARGET_DIR / "tools"
    binary = tools / "bin" / "cargo-fuzz"
    if not binary.exists():
        command = ["cargo", "install", "--quiet", "--locked", "--version", "0.13.2", "--root", str(tools), "cargo-fuzz"]
        subprocess.run(command, check=True)
    return [str(binary)]


def run(tool: list[str], verb: str, target: str, *rest: str) -> int:
    environment = dict(os.environ, RUSTUP_TOOLCHAIN="nightly", CARGO_TARGET_DIR=str(WORK / "build"))
    for name in ("CARGO", "RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"):
        environment.pop(name, None)
    command = [*tool, verb, "--fuzz-dir", str(HERE), target, *rest]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all of them by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="renew what is kept")
    arguments = parser.parse_args()
    tool = cargo_fuzz()
    failed = []
    for target in arguments.targets or TARGETS:
        corpus, artifacts = WORK / "corpus" / target, WORK / "artifacts" / target
        artifacts.mkdir(parents=True, exist_ok=True)
        put(corpus, kept(target))
        options = [f"-max_total_time={arguments.seconds}", f"-artifact_prefix={artifacts}/", "-timeout=10", "-max_len=4096"]
        options.append("-print_final_stats=1")
        dictionary = HERE / "dictionaries" / f"{target}.dict"
        if dictionary.exists():
            options.append(f"-dict={dictionary}")
        if run(tool, "run", target, str(corpus), "--", *options) != 0:
            failed.append(target)
        if arguments.keep:
            run(tool, "cmin", target, str(corpus))
            smallest = sorted((path.read_bytes() for path in corpus.iterdir()), key=lambda data: (len(data), data))
            findings = [path.read_bytes() for path in sorted(artifacts.iterdir())]
            chosen = [data for data in smallest if len(data) <= INPUT_BYTES_MAX][:INPUTS_MAX]
            lines = sorted({escape(data) for data in [*chosen, *findings]})
            (HERE / "kept").mkdir(exist_ok=True)
            (HERE / "kept" / f"{target}.txt").write_text("".join(line + "\n" for line in lines), "ascii")
    if failed:
        print(f"found something: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
