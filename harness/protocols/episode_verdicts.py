"""Episodes measured: the classifiers that a learner adapts, and which queries they get right."""

from __future__ import annotations

import numpy as np

from harness.batching import in_batches
from harness.data import episode_lists
from harness.data.base import Images, Loaded
from harness.data.episode_lists import EpisodeList
from harness.data.episodes import Episodes
from harness.data.sampler import sample
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.protocols.base import Context
from harness.protocols.episode_settings import FewShotSetting
from harness.protocols.requirements import require_eval_mode, require_logits

CHUNK = 16
"""Episodes adapted at once; fixed, so that no result depends on the size of the memory."""

HEAD_NUMBERS = 1 << 20
"""Heads on frozen features are cheap: up to this many embedding entries (4 MiB) go through at once,
if CHUNK episodes have fewer."""

NOTHING = 255
"""Verdict on a query that an episode lacks because it has fewer ways than another."""


def drawn(data: Loaded, setting: FewShotSetting, context: Context) -> tuple[Images, Episodes]:
    """The images of a setting's split, and its episodes; equal settings give equal episodes."""
    images = data.split(setting.splitting, setting.split)
    if setting.episodes_from is not None:
        path = context.files[setting.episodes_from]
        return images, episode_lists.read(path).episodes_of(data, str(path))
    groups = None
    if setting.within_group:
        groups = data.split_groups(setting.splitting, setting.split)
    episodes = sample(
        images,
        ways=setting.ways,
        shots=setting.shots,
        queries=setting.queries,
        episodes=setting.episodes,
        rng=context.rng.child("episodes"),
        groups=groups,
        mode=setting.mode,
        min_images=setting.min_images,
    )
    return images, episodes


def list_of(data: Loaded, dataset: str, setting: FewShotSetting, context: Context) -> EpisodeList:
    """The episodes of a setting as a list that can be exported.

    Args:
        dataset: kind of the dataset, which the list names.
    """
    _, episodes = drawn(data, setting, context)
    return episode_lists.listing(
        data,
        setting.splitting,
        setting.split,
        episodes,
        dataset=dataset,
        ways=setting.ways,
        shots=setting.shots,
        queries=setting.queries,
    )


def episode_verdicts(
    learner: Learner, images: Images, episodes: Episodes, context: Context
) -> np.ndarray:
    """Which queries each episode's classifier gets right.

    Returns:
        uint8 (E, ways * queries): 1 right, 0 wrong, NOTHING where an episode has no such query.

    Raises:
        ValueError: the learner gives classifiers in train mode (the first episode's is examined).
        FloatingPointError: some logits are not finite.
    """
    verdicts = np.full(episodes.query.shape, NOTHING, np.uint8)
    finished = 0
    with torch.no_grad():
        _require_sound_first_episode(learner, images, episodes, context)
        # However many episodes share an image, it is embedded once; unused images are not.
        rows = episodes.rows()
        place = np.zeros(len(images), np.int64)
        place[rows] = np.arange(len(rows))
        pool = torch.from_numpy(images.pixels[rows]).to(context.device)
        if learner.frozen_features:
            pool = in_batches(
                lambda pixels: learner.embed(_unit(pixels)), pool, batch_size=context.batch_size
            )
        for positions, alike in episodes.by_shape():
            step = _episodes_at_once(learner, pool, alike)
            for start in range(0, len(alike), step):
                part = alike.take(slice(start, start + step))
                n_way = part.classes.shape[1]
                guesses = _guesses(
                    learner,
                    pool,
                    place[part.support],
                    part.support_labels,
                    place[part.query],
                    n_way,
                )
                rows_of_part = positions[start : start + step]
                verdicts[rows_of_part, : guesses.shape[1]] = guesses == part.query_labels
                finished += len(part)
                context.progress(finished / len(episodes), "episodes")
    return verdicts


def _episodes_at_once(learner: Learner, pool: torch.Tensor, alike: Episodes) -> int:
    if not learner.frozen_features:
        return CHUNK
    images_an_episode = alike.support.shape[1] + alike.query.shape[1]
    return max(CHUNK, HEAD_NUMBERS // (pool.shape[1] * images_an_episode))


def _require_sound_first_episode(
    learner: Learner, images: Images, episodes: Episodes, context: Context
) -> None:
    _, first = next(episodes.take(slice(0, 1)).by_shape())
    support = images.take(first.support[0]).tensor(context.device)
    labels = torch.from_numpy(first.support_labels[0]).to(context.device)
    model = learner.adapt(support, labels, first.classes.shape[1])
    require_eval_mode(model, learner, "adapt()")


def _guesses(
    learner: Learner,
    pool: torch.Tensor,
    support: np.ndarray,
    support_labels: np.ndarray,
    query: np.ndarray,
    n_way: int,
) -> np.ndarray:
    """Labels (E, Q) that the classifiers of E episodes give.

    Args:
        pool: images or embeddings that episodes choose from.
        support: rows of ``pool`` (E, S), with labels of the same shape.
        query: rows of ``pool`` (E, Q).
    """
    labels = torch.from_numpy(support_labels).to(pool.device)
    if learner.frozen_features:
        logits = learner.head_many(pool[support], labels, n_way)(pool[query])
    else:
        classify = learner.adapt_many(_unit(pool[support]), labels, n_way)
        logits = classify(_unit(pool[query]))
    require_logits(logits, (*query.shape, n_way), learner)
    return logits.argmax(-1).cpu().numpy()


def _unit(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 images as float32 in [0, 1]."""
    return pixels.float().div_(255)
