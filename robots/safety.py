"""The safety layer between policy and body: the same for legs and arms, in the body's units.

It has three kinds of rules (is the reading fresh and sane, is the body within its bounds, is the
command allowed), and none of them knows a particular robot. A rule whose reading the body does not
have is inert, and says so once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robots.base import FloatArray, Reading, RobotSpec
from robots.safety_bounds import make_bounds
from robots.safety_config import RULES, SafetyConfig

log = logging.getLogger(__name__)

__all__ = ["Safety", "SafetyConfig", "SafetyEvent", "SafetyVerdict"]


class SafetyEvent(NamedTuple):
    """One rule that was broken in one control step."""

    rule: str
    action: str  # warn, clip or stop: what was done about it
    message: str  # what was found and what was expected


@dataclass(frozen=True)
class SafetyVerdict:
    """What to send instead of the policy's command; nothing at all when `stop`."""

    command: FloatArray
    stop: bool
    events: list[SafetyEvent] = field(default_factory=list)


class Safety:
    """Checks every command against the newest reading. One thread, one body."""

    def __init__(self, cfg: SafetyConfig, spec: RobotSpec) -> None:
        """`spec` gives the command's limits and rate, and says which readings there are."""
        self._cfg = cfg
        self._names = spec.command.names
        self._unit = spec.command.unit
        self._low = np.array(spec.command.low, np.float32)
        self._high = np.array(spec.command.high, np.float32)
        self._period_s = 1 / spec.control_hz
        self._bounds, inert = make_bounds(cfg, spec)
        pose = spec.readings.get("joint_position_rad")
        self._has_pose = pose is not None and pose.shape == self._low.shape and self._unit == "rad"
        if cfg.soft_start != "off" and not self._has_pose:
            inert = [*inert, "soft_start (joint_position_rad)"]
        if inert:
            log.info("%s: no reading for the safety rules %s", spec.name, ", ".join(inert))
        self._counts: Counter[str] = Counter()
        self._firing: frozenset[str] = frozenset()
        self._last_time_s: float | None = None
        self.restart()

    @property
    def counts(self) -> Mapping[str, int]:
        """Events so far, for every rule."""
        return {rule: self._counts[rule] for rule in RULES}

    def restart(self) -> None:
        """Forget the last command: the body has rested, and the next one starts softly."""
        self._last: FloatArray | None = None
        self._repeats = 0
        self._start_s: float | None = None
        self._start_pose: FloatArray | None = None

    def check(self, reading: Reading, command: FloatArray, now_s: float) -> SafetyVerdict:
        """The command to send. `now_s` is on the body's clock, as `reading.time_s` is."""
        events: list[SafetyEvent] = []
        self._check_reading(reading, now_s, events)
        hold = self._check_bounds(reading.values, events)
        safe = self._check_command(reading, np.array(command, np.float32), hold, now_s, events)
        stop = any(event.action == "stop" for event in events)
        self._record(events)
        if not stop:
            self._last = safe
        return SafetyVerdict(safe, stop, events)

    def _check_reading(self, reading: Reading, now_s: float, events: list[SafetyEvent]) -> None:
        cfg = self._cfg
        if cfg.reading_finite != "off":
            for key, value in reading.values.items():
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    message = f"reading {key} is {value.tolist()}: finite numbers expected"
                    events.append(SafetyEvent("reading_finite", cfg.reading_finite, message))
        if cfg.stale_sensor == "off":
            return
        self._repeats = self._repeats + 1 if reading.time_s == self._last_time_s else 0
        self._last_time_s = reading.time_s
        if self._repeats >= cfg.max_repeats:
            message = f"{self._repeats + 1} readings in a row are of {reading.time_s:.3f} s: frozen"
            events.append(SafetyEvent("stale_sensor", cfg.stale_sensor, message))
        for key, stamp_s in {"reading": reading.time_s, **reading.stamps_s}.items():
            age_s = now_s - stamp_s
            if not age_s <= cfg.max_age_s:
                message = f"{key} is {age_s:.3f} s old: at most {cfg.max_age_s} s expected"
                events.append(SafetyEvent("stale_sensor", cfg.stale_sensor, message))

    def _check_bounds(self, values: Mapping[str, NDArray[Any]], events: list[SafetyEvent]) -> bool:
        """Whether a rule in mode clip asks for the last command to be repeated."""
        hold = False
        for bound in self._bounds:
            message = bound.broken(values)
            if message is not None:
                events.append(SafetyEvent(bound.rule, bound.mode, message))
                hold = hold or bound.mode == "clip"
        return hold

    def _check_command(
        self,
        reading: Reading,
        command: FloatArray,
        hold: bool,
        now_s: float,
        events: list[SafetyEvent],
    ) -> FloatArray:
        cfg = self._cfg
        known_good = self._known_good(reading)
        if command.shape != self._low.shape:
            raise ValueError(f"command has shape {command.shape}: expected {self._low.shape}")
        finite = np.isfinite(command)
        if not finite.all():
            message = f"the command for {self._named(~finite)} is not finite"
            if cfg.command_finite != "off":
                # There is nothing between warn and clip: no body can pursue NaN.
                action = "stop" if cfg.command_finite == "stop" else "clip"
                events.append(SafetyEvent("command_finite", action, message))
            command = known_good
        elif hold:
            command = known_good

        bounded = np.clip(command, self._low, self._high)
        outside = bounded != command
        if outside.any():
            message = f"the command for {self._named(outside)} is outside its limits"
            command = self._apply(
                "command_limits", cfg.command_limits, message, command, bounded, events
            )
        command = self._soften(reading, command, now_s)
        if self._last is not None and cfg.command_rate != "off":
            reach = np.float32(cfg.command_rate_limit * self._period_s)
            slow = np.clip(command, self._last - reach, self._last + reach)
            fast = slow != command
            if fast.any():
                message = (
                    f"the command for {self._named(fast)} changes by more than "
                    f"{cfg.command_rate_limit:g} {self._unit}/s"
                )
                command = self._apply(
                    "command_rate", cfg.command_rate, message, command, slow, events
                )
        return command

    def _soften(self, reading: Reading, command: FloatArray, now_s: float) -> FloatArray:
        """Blend from the pose at the start towards the policy's commands."""
        if self._cfg.soft_start == "off" or not self._has_pose:
            return command
        if self._start_s is None or self._start_pose is None:
            self._start_s = now_s
            self._start_pose = np.array(reading.values["joint_position_rad"], np.float32)
        part = (now_s - self._start_s) / self._cfg.soft_start_s
        if part >= 1:
            return command
        # No event: easing a good command in is the plan, not a fault.
        step = np.float32(part) * (command - self._start_pose)
        blended: FloatArray = (self._start_pose + step).astype(np.float32)
        return blended

    def _apply(
        self,
        rule: str,
        mode: str,
        message: str,
        command: FloatArray,
        allowed: FloatArray,
        events: list[SafetyEvent],
    ) -> FloatArray:
        if mode == "off":
            return command
        events.append(SafetyEvent(rule, mode, message))
        return command if mode == "warn" else allowed

    def _known_good(self, reading: Reading) -> FloatArray:
        """What to repeat: the last command, else the measured pose, else mid-range."""
        if self._last is not None:
            return self._last
        if self._has_pose:
            pose = np.array(reading.values["joint_position_rad"], np.float32)
            if np.isfinite(pose).all():
                return pose
        middle: FloatArray = ((self._low + self._high) / 2).astype(np.float32)
        return middle

    def _record(self, events: list[SafetyEvent]) -> None:
        firing = frozenset(event.rule for event in events)
        for event in events:
            self._counts[event.rule] += 1
            if event.rule not in self._firing:  # once when it begins, not 20 times a second
                log.warning("safety %s (%s): %s", event.rule, event.action, event.message)
        self._firing = firing

    def _named(self, which: NDArray[np.bool_]) -> str:
        return ", ".join(name for name, bad in zip(self._names, which, strict=True) if bad)
