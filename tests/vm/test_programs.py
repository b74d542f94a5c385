"""The test programs that need a kernel of the bed: the eBPF objects in the verifier and under packets, netlink/ against
real devices, every key and action through flower and back. Each is a gtest program of the debug build, sanitizers and
all; what fails inside is named here."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("SEPAL_BUILD", Path(__file__).resolve().parents[2] / "build")) / "debug/tests"
# In so many shares beside each other: emulated, a long program is as slow as one CPU of the bed.
PROGRAMS = {"bpf/bpf_tests": 2, "bpf/bpf_in_flower": 1, "netns/netns_netlink": 1, "wire/kernel_roundtrip": 1}


@pytest.mark.smoke
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_passes_on_this_kernel(program):
    path = BUILD / program
    assert path.exists(), f"{path} is not built; run: ./dev build debug"
    shares = PROGRAMS[program]
    with ThreadPoolExecutor(shares) as pool:
        for done in pool.map(lambda share: run(path, share, shares), range(shares)):
            assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
            assert "SKIPPED" not in done.stdout, done.stdout[-3000:]


def run(path, share, shares):
    sharded = {"GTEST_OUTPUT": "", "GTEST_SHARD_INDEX": str(share), "GTEST_TOTAL_SHARDS": str(shares)}
    return subprocess.run(["unshare", "--net", str(path), "--gtest_color=no", "--gtest_brief=1"], capture_output=True, text=True,
                          env={**os.environ, **sharded}, check=False)
