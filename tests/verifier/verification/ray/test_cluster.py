import pytest

from weightwarden.verifier.verification.ray.cluster import ClusterError, Layout, Node, layout_of

pytestmark = pytest.mark.slow

GPU_NODES = [Node(16, 2), Node(16, 2)]


def test_workers_are_one_a_gpu_and_share_the_cores() -> None:
    assert layout_of(GPU_NODES, None, None) == Layout(workers=4, threads=8, gpus=1.0)


def test_two_workers_may_share_a_gpu() -> None:
    assert layout_of(GPU_NODES, None, 0.5) == Layout(workers=8, threads=4, gpus=0.5)


@pytest.mark.parametrize(("workers", "threads"), [(1, 2), (2, 1)])
def test_workers_without_gpus_share_the_cores(workers: int, threads: int) -> None:
    assert layout_of([Node(2, 0)], workers, None) == Layout(workers=workers, threads=threads, gpus=0.0)


def test_where_nobody_says_a_worker_without_a_gpu_has_eight_cores_or_all_of_a_small_machine() -> None:
    assert layout_of([Node(64, 0)], None, None) == Layout(workers=8, threads=8, gpus=0.0)
    assert layout_of([Node(2, 0)], None, None) == Layout(workers=1, threads=2, gpus=0.0)


def test_a_worker_gets_no_more_threads_than_its_node_has_cores() -> None:
    assert layout_of([Node(4, 0), Node(12, 0)], 2, None).threads == 6
    assert layout_of([Node(4, 0), Node(4, 0)], 1, None).threads == 4


@pytest.mark.parametrize(("nodes", "workers", "gpus"), [([Node(2, 0)], 3, None), ([Node(8, 1)], 2, 1.0), ([], 1, None)])
def test_more_workers_than_fit_are_refused(nodes: list[Node], workers: int, gpus: float | None) -> None:
    with pytest.raises(ClusterError, match="do not fit"):
        layout_of(nodes, workers, gpus)
