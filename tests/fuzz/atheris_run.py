"""Coverage-guided fuzzing of the targets with atheris, where it is installed: `make fuzz-guided SECONDS=60`.

atheris is built on libFuzzer and has no packages for every Python and system; the tests do without it. Each target
runs in a process of its own, for so many seconds, and begins with its seeds and words.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.targets import TARGETS

MISSING = "atheris is not installed: pip install 'atheris>=3' (Linux and macOS; needs clang where there is no wheel)"


def run_one(name: str, seconds: int) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["esmd"]):
        # Anew, so that what was imported by the table of targets is instrumented too.
        for module in [each for each in sys.modules if each.startswith(("esmd", "fuzz"))]:
            del sys.modules[module]
        import fuzz.targets

    target = next(each for each in fuzz.targets.TARGETS if each.name == name)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for n, seed in enumerate(target.seeds):
            (corpus / str(n)).write_bytes(seed)
        words = Path(folder) / "words"
        short = [word for word in target.words if 0 < len(word) <= 64]
        words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in short))
        limits = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=1024", "-max_len=20000", "-verbosity=0"]
        finds = [f"-artifact_prefix={os.environ.get('FUZZ_FINDS', tempfile.gettempdir())}/{name}-"]
        options = [sys.argv[0], *limits, *finds, "-print_final_stats=1", f"-dict={words}", str(corpus)]
        atheris.Setup(options, target.run)
        atheris.Fuzz()


def main() -> int:
    """Run all targets, or those named, one after the other; the number of those that failed."""
    try:
        import atheris  # noqa: F401 - only whether it is there
    except ImportError:
        print(MISSING, file=sys.stderr)
        return 2
    seconds, *names = sys.argv[1:]
    if names[:1] == ["--one"]:
        run_one(names[1], int(seconds))
        return 0
    failed = []
    for target in TARGETS:
        if names and target.name not in names:
            continue
        print(f"--- {target.name}", flush=True)
        command = [sys.executable, "-m", "fuzz.atheris_run", seconds, "--one", target.name]
        if subprocess.run(command, check=False).returncode:
            failed.append(target.name)
    print("failed: " + (", ".join(failed) or "none"))
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
