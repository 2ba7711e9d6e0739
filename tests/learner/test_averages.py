from __future__ import annotations

import math

import torch

from daydreamer.learner.averages import Averages


def test_means_are_of_the_good_updates_since_the_last_line() -> None:
    averages = Averages()
    for loss, bad in ((1.0, 0.0), (math.nan, 2.0), (4.0, 0.0)):
        metrics = {"loss": torch.tensor(loss), "norm": torch.tensor(2 * loss)}
        averages.add(metrics, torch.tensor(bad))
    assert averages.take() == {"loss": 2.5, "norm": 5.0}
    assert averages.take() == {}


def test_bad_updates_alone_have_no_means() -> None:
    averages = Averages()
    averages.add({"loss": torch.tensor(math.inf)}, torch.tensor(1.0))
    assert averages.take() == {}


def test_what_only_some_updates_report_is_averaged_over_those() -> None:
    averages = Averages()
    good, bad = torch.tensor(0.0), torch.tensor(1.0)
    averages.add({"loss": torch.tensor(1.0), "explore": torch.tensor(8.0)}, good)
    averages.add({"loss": torch.tensor(2.0), "explore": torch.tensor(4.0)}, good)
    averages.add({"loss": torch.tensor(6.0)}, good)
    averages.add({"loss": torch.tensor(9.0), "late": torch.tensor(9.0)}, bad)
    assert averages.take() == {"loss": 3.0, "explore": 6.0}
    assert averages.take() == {}
