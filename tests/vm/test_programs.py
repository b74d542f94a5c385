"""The test programs that need a kernel of the bed: the eBPF objects in the verifier and under packets, netlink/ against
real devices, every key and action through flower and back. Each is a gtest program of the debug build, sanitizers and
all; what fails inside is named here."""

import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("SEPAL_BUILD", Path(__file__).resolve().parents[2] / "build")) / "debug/tests"
PROGRAMS = ["bpf/bpf_tests", "bpf/bpf_in_flower", "netns/netns_netlink", "wire/kernel_roundtrip"]


@pytest.mark.smoke
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_passes_on_this_kernel(program):
    path = BUILD / program
    assert path.exists(), f"{path} is not built; run: ./dev build debug"
    done = subprocess.run(["unshare", "--net", str(path), "--gtest_color=no", "--gtest_brief=1"], capture_output=True, text=True,
                          env={**os.environ, "GTEST_OUTPUT": ""}, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "SKIPPED" not in done.stdout, done.stdout[-3000:]
