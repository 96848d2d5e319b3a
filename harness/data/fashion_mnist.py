"""Fashion-MNIST, complete, from the data root."""

from __future__ import annotations

from harness.data.base import SplitFacts
from harness.data.idx_family import IdxFamily, gzipped_remotes
from harness.registry import datasets


@datasets.register("fashion-mnist")
class FashionMNIST(IdxFamily):
    """Photographs of clothing, 28 x 28: Fashion-MNIST complete, 60,000 + 10,000 images."""

    licence = "MIT"
    citation = "Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017"
    how_to_get = (
        "run `harness data get fashion-mnist`; or get the four idx files from Zalando Research's "
        "fashion-mnist repository (folder data/fashion) and run "
        "`harness data import fashion-mnist FOLDER`"
    )
    class_names = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    raw_sha256 = (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    )
    # The authors' repository at a fixed commit; hashes and sizes of the files there.
    remotes = gzipped_remotes(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
        "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion",
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        (26_421_880, 29_515, 4_422_102, 5_148),
    )
    standard = {
        "train": SplitFacts(10, 5_500, 55_000),
        "val": SplitFacts(10, 500, 5_000),
        "test": SplitFacts(10, 1_000, 10_000),
    }
    classes = {"train": SplitFacts(5, 6_000, 30_000), "test": SplitFacts(5, 1_000, 5_000)}
    pinned = {"{}": "497ae253902aab73b03ef5f1019692836071a0b77b9b60b98658877319767947"}
