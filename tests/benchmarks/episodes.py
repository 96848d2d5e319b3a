"""Speed of 10,000 ProtoNet episodes (5 ways, 5 shots, 15 queries), relative to other libraries.

    python tests/benchmarks/episodes.py [--episodes 10000] [--slice 200] [--training 60]

With HARNESS_DATA the images are Omniglot's test characters, otherwise the glyphs. Times are CPU
seconds of one thread, from uint8 images to accuracies. All implementations use the same network,
with its normalisation folded in. The other libraries are timed on the first episodes (--slice) and
scaled up; on those episodes all must have the same accuracy, to four decimals.

easyfsl is not a dependency: `pip install --no-deps easyfsl`. Without it, its row is left out.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch

from harness.batching import in_batches
from harness.data import acquire
from harness.data.base import Images
from harness.data.episodes import Episodes
from harness.data.sampler import sample
from harness.imports import import_learn2learn
from harness.learning.learner import Learner, silent
from harness.protocols.base import Context
from harness.protocols.episode_verdicts import episode_verdicts
from harness.registry import datasets, learners
from harness.rng import Rng

WAYS, SHOTS, QUERIES = 5, 5, 15


@dataclass
class Items(torch.utils.data.Dataset):
    """(tensor, label) one by one, as the rivals' loaders want them."""

    tensors: torch.Tensor
    labels: list[int]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.tensors[row], self.labels[row]

    def get_labels(self) -> list[int]:
        """easyfsl's sampler asks for them."""
        return self.labels


def cpu(work: Callable[[], object]) -> tuple[object, float]:
    """What a call returns, and its CPU seconds."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def ours(learner: Learner, images: Images, episodes: Episodes) -> np.ndarray:
    """Accuracy of each episode."""
    return episode_verdicts(learner, images, episodes, Context(Rng(0), "cpu", 128, silent)).mean(1)


def way_by_way(episodes: Episodes) -> np.ndarray:
    """Rows (E, ways, shots + queries)."""
    support, query = (
        rows.reshape(len(episodes), WAYS, -1) for rows in (episodes.support, episodes.query)
    )
    return np.concatenate([support, query], 2)


def easyfsl_loop(body: torch.nn.Module, images: Images, episodes: Episodes) -> np.ndarray:
    """easyfsl's ProtoNet and collation over its kind of loop, one episode after another."""
    from easyfsl.methods import PrototypicalNetworks

    dataset = Items(images.tensor(), images.labels.tolist())
    collate = easyfsl_sampler(dataset, 1).episodic_collate_fn
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=way_by_way(episodes).reshape(len(episodes), -1).tolist(),
        collate_fn=collate,
    )
    model, found = PrototypicalNetworks(body).eval(), []
    with torch.no_grad():
        for support, labels, queries, right, _ in loader:
            model.process_support_set(support, labels)
            found.append(float((model(queries).argmax(1) == right).float().mean()))
    return np.array(found)


def easyfsl_sampling(images: Images, count: int) -> list:
    """easyfsl's sampler alone."""
    random.seed(0)
    return list(easyfsl_sampler(Items(torch.empty(0), images.labels.tolist()), count))


def easyfsl_sampler(dataset: Items, count: int):
    """Its constructor passes torch's Sampler an argument that Sampler no longer has."""
    from easyfsl.samplers import TaskSampler

    with mock.patch.object(
        torch.utils.data.Sampler, "__init__", lambda self, data_source=None: None
    ):
        return TaskSampler(dataset, WAYS, SHOTS, QUERIES, count)


class Learn2learn:
    """learn2learn's task sets: sampling, loading, and nearest class means."""

    def __init__(self, tensors: torch.Tensor, labels: np.ndarray):
        import_learn2learn()
        from learn2learn.data import MetaDataset, TaskDataset
        from learn2learn.data import transforms as t

        meta = MetaDataset(Items(tensors, labels.tolist()))
        steps = [
            t.NWays(meta, WAYS),
            t.KShots(meta, SHOTS + QUERIES),
            t.LoadData(meta),
            t.RemapLabels(meta),
        ]
        self.tasks = TaskDataset(meta, task_transforms=steps, num_tasks=-1)

    def sampled(self, count: int) -> list:
        """What it samples: descriptions of tasks, whose images are not loaded yet."""
        random.seed(0)
        return [self.tasks.sample_task_description() for _ in range(count)]

    def classified(self, sampled: list, body: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        """Accuracies on tasks that it has sampled."""
        found, right = [], torch.arange(WAYS).repeat_interleave(QUERIES)
        with torch.no_grad():
            for description in sampled:
                data, _ = self.tasks.get_task(description)
                embedded = body(data).unflatten(0, (WAYS, -1))
                means, queries = embedded[:, :SHOTS].mean(1), embedded[:, SHOTS:].flatten(0, 1)
                found.append(float((torch.cdist(queries, means).argmin(1) == right).float().mean()))
        return np.array(found)


def rows_of(sampled: list) -> np.ndarray:
    """Rows (E, ways, shots + queries) of learn2learn's tasks."""
    return np.array([[one.index for one in description] for description in sampled]).reshape(
        len(sampled), WAYS, -1
    )


def as_episodes(rows: np.ndarray, labels: np.ndarray) -> Episodes:
    """Episodes from rows (E, ways, shots + queries)."""
    count, way = len(rows), np.arange(WAYS)
    return Episodes(
        rows[:, :, :SHOTS].reshape(count, -1),
        np.tile(np.repeat(way, SHOTS), (count, 1)),
        rows[:, :, SHOTS:].reshape(count, -1),
        np.tile(np.repeat(way, QUERIES), (count, 1)),
        labels[rows[:, :, 0]],
    )


def images_of(root) -> tuple[str, Images, Images]:
    """Dataset, training and test images."""
    name, splitting = ("omniglot", "vinyals") if root else ("glyphs", "alphabets")
    data, _ = acquire.load(datasets[name](datasets[name].Config(), root))
    return name, data.split(splitting, "train"), data.split(splitting, "test")


def row(
    name: str, seconds: float, reference: float, accuracy: float | None, same: float | None
) -> None:
    shown = "" if accuracy is None else f"   accuracy {accuracy:.4f}, ours {same:.4f}"
    print(f"{name:58}{seconds:9.2f} CPU s{seconds / reference:8.1f}x{shown}")
    assert accuracy is None or f"{accuracy:.4f}" == f"{same:.4f}", (
        "not the same accuracy on the same episodes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("episodes", 10_000), ("slice", 200), ("training", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, train, images = images_of(acquire.data_root())
    learner = learners["protonet"](
        learners["protonet"].Config(episodes=options.training),
        images.shape,
        train.n_classes,
        Rng(0),
    )
    learner.fit(train)
    body, scale = learner.body(), options.episodes / options.slice
    asked = dict(ways=WAYS, shots=SHOTS, queries=QUERIES, rng=Rng(0))

    sample(images, episodes=options.slice, **asked)
    drawn, sampling = cpu(lambda: sample(images, episodes=options.episodes, **asked))
    accuracy, evaluating = cpu(lambda: ours(learner, images, drawn))
    print(
        f"{name}, {options.episodes:,} episodes, {WAYS} ways, {SHOTS} shots, {QUERIES} queries; "
        f"rivals on {options.slice}, scaled up"
    )
    print(f"sampling alone: {options.episodes / sampling:,.0f} episodes per CPU second")
    total = sampling + evaluating
    row("ours, sampling + embedding + classification", total, total, None, None)
    first = drawn.take(slice(0, options.slice))

    rival = Learn2learn(images.tensor(), images.labels)
    tasks, drawing = cpu(lambda: rival.sampled(options.slice))
    same = ours(learner, images, as_episodes(rows_of(tasks), images.labels)).mean()
    found, seconds = cpu(lambda: rival.classified(tasks, body))
    row(
        "learn2learn, sampling + embedding + classification",
        scale * (drawing + seconds),
        total,
        found.mean(),
        same,
    )
    with torch.no_grad():
        embedded, once = cpu(lambda: in_batches(body, images.tensor(), batch_size=128))
    rival = Learn2learn(embedded, images.labels)
    tasks = rival.sampled(options.slice)
    found, seconds = cpu(lambda: rival.classified(tasks, lambda x: x))
    row(
        "learn2learn, the same on images embedded once",
        once + scale * (drawing + seconds),
        total,
        found.mean(),
        same,
    )
    row("  of which sampling alone, against ours alone", scale * drawing, sampling, None, None)
    try:
        import easyfsl  # noqa: F401 - whether it is installed
    except ImportError:
        print("easyfsl is not installed: its rows are left out (pip install --no-deps easyfsl)")
        return
    found, seconds = cpu(lambda: easyfsl_loop(body, images, first))
    _, drawing = cpu(lambda: easyfsl_sampling(images, options.slice))
    row(
        "easyfsl, sampling + loop",
        scale * (seconds + drawing),
        total,
        found.mean(),
        accuracy[: options.slice].mean(),
    )
    row("  of which sampling alone, against ours alone", scale * drawing, sampling, None, None)


if __name__ == "__main__":
    main()
