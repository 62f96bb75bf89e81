"""Laws of finding a process's place among others."""

import pytest

from maskrcnn.distributed.place import ALONE, Place, find_place, first_host

SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "5000",
    "SLURM_JOB_NODELIST": "n[07-10]",
}
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


def test_without_a_coordinator_a_process_is_alone_whatever_the_environment_says():
    assert find_place(None, environment=SLURM) == ALONE == find_place("h:1", 0, 1, {})


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (("host:1234", 1, 4), {}, Place(1, 4, "host:1234", 0, True)),
        (("auto",), SLURM, Place(3, 8, "n07:63252", 1, True)),
        (("host:1234",), SLURM, Place(3, 8, "host:1234", 1, True)),
        (("auto",), {**SLURM, "SLURM_STEP_NODELIST": "gpu2,gpu3"}, Place(3, 8, "gpu2:63252", 1, True)),
        (("auto",), TORCHRUN, Place(1, 2, "10.0.0.1:29500", 1, True)),
        (("auto",), {**SLURM, **TORCHRUN}, Place(1, 2, "10.0.0.1:29500", 1, True)),  # torchrun inside of a job
        (("train-0.train:1234", None, 4), {"JOB_COMPLETION_INDEX": "2"}, Place(2, 4, "train-0.train:1234", 0, True)),
        (("[::1]:1234", 1, 2), {}, Place(1, 2, "[::1]:1234", 0, True)),
    ],
)
def test_a_place_is_what_options_say_and_else_the_launcher(arguments, environment, expected):
    assert find_place(*arguments, environment=environment) == expected


def test_the_address_of_a_launch_stands_in_for_the_list_of_nodes():
    environment = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9"}
    assert find_place("auto", environment=environment).address == "10.0.0.9:61440"


@pytest.mark.parametrize(
    ("names", "host"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[003-004,007],g1", "n003"),
        ("n[3,7]", "n3"),
        ("a,n[3-7]", "a"),
        ("n[01-02]-ib,g", "n01-ib"),
    ],
)
def test_the_first_host_of_slurms_list(names, host):
    assert first_host(names) == host


@pytest.mark.parametrize(
    ("arguments", "environment", "text"),
    [
        ((None, 1, None), {}, "need --coordinator HOST:PORT"),
        (("h:1",), {}, "needs --process N"),
        (("h:1", 0), {"JOB_COMPLETION_INDEX": "0"}, "needs --processes N"),
        (("h:1", 2, 2), {}, "from 0 to 1; received --process 2"),
        (("h:1", 0, 0), {}, "received --process 0, --processes 0"),
        (("auto", 0, 2), {}, "finds no first process"),
        (("host", 0, 2), {}, "HOST:PORT with a port from 1 to 65534, or auto; received 'host'"),
        (("host:65535", 0, 2), {}, "received 'host:65535'"),
        (("auto",), {**SLURM, "SLURM_PROCID": "x"}, "SLURM_PROCID is a whole number from 0; received 'x'"),
    ],
)
def test_what_is_missing_or_cannot_be_is_said_in_one_line(arguments, environment, text):
    with pytest.raises(ValueError, match=text):
        find_place(*arguments, environment=environment)
