"""Two hosts, each with its own `torchrun`: network namespaces with a cable between them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import group_cases
import group_worker
from bench.hosts import missing, two_hosts

LIMIT = 600


def test_two_hosts_end_where_one_does_and_send_what_the_trace_says(tmp_path):
    why_not = missing()
    if why_not:
        pytest.skip(f"two hosts need root and iproute2: {why_not}")
    with two_hosts() as hosts:
        processes = []
        for number, host in enumerate(hosts):
            launch = [
                "--nnodes=2",
                "--nproc-per-node=1",
                "--rdzv-backend=c10d",
                f"--rdzv-endpoint={hosts[0].address}:29400",
                f"--rdzv-conf=is_host={number == 0}",
                f"--local-addr={host.address}",
            ]
            worker = [str(Path(group_worker.__file__)), "hosts", str(tmp_path)]
            processes.append(
                subprocess.Popen(
                    host.command(sys.executable, "-m", "torch.distributed.run", *launch, *worker),
                    env={
                        **os.environ,
                        "GLOO_SOCKET_IFNAME": host.interface,
                        "OMP_NUM_THREADS": "1",
                        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
                    },
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        try:
            for process in processes:
                output = process.communicate(timeout=LIMIT)[0]
                assert process.returncode == 0, output
        finally:
            for process in processes:
                process.kill()
                if not process.stdout.closed:
                    process.communicate()
    one = group_cases.carry_out(group_cases.WIDE)
    for rank in (0, 1):
        many = group_worker.load(tmp_path, f"hosts {rank}")
        np.testing.assert_allclose(many.loss, one.loss, rtol=1e-9)
        np.testing.assert_allclose(many.x, one.x, rtol=1e-9, atol=1e-12)
        # What the interface has counted from row to row, for both hosts: headers come on top.
        counted = 2 * np.diff(many.measures["counted"]) / many.bytes[1:]
        assert (counted > 1).all()
        assert (counted < 1.2).all()
