"""The generated URDF: published numbers, and lines that Bullet's parser can take."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from robots.a1.spec import JOINT_HIGH_RAD, JOINT_LOW_RAD, JOINTS
from sim.a1.urdf import a1_urdf

ROOT = ElementTree.fromstring(a1_urdf())


def test_no_line_is_long() -> None:
    assert max(map(len, a1_urdf().splitlines())) < 200


def test_joints_and_limits_are_the_specs() -> None:
    revolute = [joint for joint in ROOT.iter("joint") if joint.get("type") == "revolute"]
    assert tuple(joint.get("name") for joint in revolute) == JOINTS
    for joint, low, high in zip(revolute, JOINT_LOW_RAD, JOINT_HIGH_RAD, strict=True):
        limit = joint.find("limit")
        assert limit is not None
        assert float(limit.get("lower", "nan")) == low
        assert float(limit.get("upper", "nan")) == high


def test_robot_weighs_what_was_published() -> None:
    masses = [float(mass.get("value", "nan")) for mass in ROOT.iter("mass")]
    assert math.isclose(sum(masses), 12.453, abs_tol=1e-6)


def test_every_link_has_inertia_and_a_collision_shape() -> None:
    for link in ROOT.iter("link"):
        assert link.find("inertial") is not None, link.get("name")
        assert link.find("collision") is not None, link.get("name")


def test_trunk_carries_the_box_on_its_back() -> None:
    trunk = next(link for link in ROOT.iter("link") if link.get("name") == "trunk")
    boxes = [collision.find("origin") for collision in trunk.iter("collision")]
    assert [box.get("xyz") for box in boxes if box is not None] == ["0.0 0.0 0.0", "-0.05 0.0 0.08"]


def test_left_and_right_are_mirror_images() -> None:
    by_name = {joint.get("name"): joint.find("origin") for joint in ROOT.iter("joint")}
    for right, left in (("FR_hip", "FL_hip"), ("RR_upper", "RL_upper")):
        a, b = by_name[right], by_name[left]
        assert a is not None
        assert b is not None
        x, y, z = map(float, a.get("xyz", "").split())
        assert [x, -y, z] == list(map(float, b.get("xyz", "").split()))
