"""Every property of the suite with new examples, round after round: ``make fuzz DURATION=600 SEED=1``.

A round is all tests that hypothesis generates examples for, with a seed that counts up. The first round that fails ends
the run with 1; hypothesis has printed the smallest example by then, and the last line says how to see it again.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKED = "hypothesis and not ray and not cluster and not long and not host"
# the profile that hypothesis takes by itself under CI draws the same examples whatever the seed
DRAWING = "-p tests.profiles --hypothesis-profile=fuzz --hypothesis-seed="


def round_of(seed: int, arguments: list[str]) -> int:
    """The exit code of one round. What earlier ones found is not looked at: each stands for itself."""
    drawing = f"{DRAWING}{seed}".split()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", MARKED, *drawing]
    return subprocess.run([*command, *(arguments or ["tests"])], cwd=ROOT, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--duration", type=float, default=600.0, help="seconds in which rounds are begun")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    options, arguments = parser.parse_known_args()
    begun, rounds = time.monotonic(), 0
    while not rounds or time.monotonic() - begun < options.duration:
        # apart, so that neighbouring first seeds (one a night) share no rounds
        seed = options.seed * 1_000 + rounds
        code = round_of(seed, arguments)
        if code:
            say(f"fuzz: round {rounds + 1} ended with {code}; again: pytest tests -m '{MARKED}' {DRAWING}{seed}")
            return 1
        rounds += 1
    took = time.monotonic() - begun
    say(f"fuzz: {rounds} rounds in {took:.0f} s, seeds {options.seed * 1_000} to {seed}, all held")
    return 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
