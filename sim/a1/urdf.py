"""The A1 from primitives: masses, inertias and sizes as published; no mesh files.

Every tag ends its line, for Bullet's parser fails on lines of a few thousand characters.
"""

from __future__ import annotations

from robots.a1.spec import JOINT_HIGH_RAD, JOINT_LOW_RAD, LEGS, PARTS, TORQUE_LIMIT_NM

Vector = tuple[float, float, float]

_JOINT_SPEED_RAD_S = 16.0
_QUARTER_TURN = "1.5707963267948966"


def a1_urdf() -> str:
    """URDF text. Links: trunk, then per leg LEG_hip, LEG_upper, LEG_lower, LEG_foot.

    The box on the back (computer and handle) has no mass of its own, but it matters: without it
    the robot lies flat and level on its back, and rolling over is another task.
    """
    lines = ['<?xml version="1.0"?>', '<robot name="a1">', *_materials(), *_trunk()]
    for index, leg in enumerate(LEGS):
        lines += _leg(index, leg)
    return "\n".join([*lines, "</robot>", ""])


def _materials() -> list[str]:
    colors = {"shell": "0.92 0.92 0.90 1", "joint": "0.20 0.22 0.26 1", "foot": "0.85 0.30 0.20 1"}
    colors["box"] = "0.10 0.35 0.75 1"
    return [
        f'<material name="{name}">\n<color rgba="{rgba}"/>\n</material>'
        for name, rgba in colors.items()
    ]


def _trunk() -> list[str]:
    return [
        '<link name="trunk">',
        *_inertial(4.713, (0.012731, 0.002186, 0.000515), (0.01684, 0.05658, 0.06471)),
        *_shape('<box size="0.267 0.194 0.114"/>', "shell"),
        *_shape('<box size="0.05 0.125 0.06"/>', "box", xyz=(-0.05, 0.0, 0.08)),
        # Drawn only: shows which end is the front.
        *_visual('<box size="0.03 0.14 0.07"/>', "foot", xyz=(0.135, 0.0, 0.0), rpy="0 0 0"),
        "</link>",
    ]


def _leg(index: int, leg: str) -> list[str]:
    front = 1.0 if leg[0] == "F" else -1.0
    left = 1.0 if leg[1] == "L" else -1.0
    hip, upper, lower = (f"{leg}_{part}" for part in PARTS)
    hip_com = (-0.003311 * front, 0.000635 * left, 3.1e-05)
    return [
        f'<link name="{hip}">',
        *_inertial(0.696, hip_com, (0.000469, 0.000807, 0.000553)),
        *_shape('<cylinder length="0.04" radius="0.046"/>', "joint", rpy=f"{_QUARTER_TURN} 0 0"),
        "</link>",
        *_joint(index * 3, "trunk", hip, (0.183 * front, 0.047 * left, 0.0), "1 0 0"),
        f'<link name="{upper}">',
        *_inertial(1.013, (-0.003237, -0.022327 * left, -0.027326), (0.005529, 0.005139, 0.001368)),
        *_shape('<box size="0.034 0.0245 0.2"/>', "shell", xyz=(0.0, 0.0, -0.1)),
        "</link>",
        *_joint(index * 3 + 1, hip, upper, (0.0, 0.08505 * left, 0.0), "0 1 0"),
        f'<link name="{lower}">',
        *_inertial(0.166, (0.006435, 0.0, -0.107388), (0.002998, 0.003014, 3.243e-05)),
        *_shape('<box size="0.016 0.016 0.2"/>', "joint", xyz=(0.0, 0.0, -0.1)),
        "</link>",
        *_joint(index * 3 + 2, upper, lower, (0.0, 0.0, -0.2), "0 1 0"),
        f'<link name="{leg}_foot">',
        *_inertial(0.06, (0.0, 0.0, 0.0), (9.6e-06, 9.6e-06, 9.6e-06)),
        *_shape('<sphere radius="0.02"/>', "foot"),
        "</link>",
        f'<joint name="{leg}_foot" type="fixed">',
        f'<parent link="{lower}"/>',
        f'<child link="{leg}_foot"/>',
        '<origin xyz="0 0 -0.2" rpy="0 0 0"/>',
        "</joint>",
    ]


def _inertial(mass_kg: float, com_m: Vector, inertia_kg_m2: Vector) -> list[str]:
    x, y, z = inertia_kg_m2
    return [
        "<inertial>",
        f'<origin xyz="{_text(com_m)}" rpy="0 0 0"/>',
        f'<mass value="{mass_kg}"/>',
        f'<inertia ixx="{x}" iyy="{y}" izz="{z}" ixy="0" ixz="0" iyz="0"/>',
        "</inertial>",
    ]


def _shape(
    geometry: str, material: str, *, xyz: Vector = (0.0, 0.0, 0.0), rpy: str = "0 0 0"
) -> list[str]:
    """A primitive that is both seen and touched."""
    return [
        *_visual(geometry, material, xyz=xyz, rpy=rpy),
        "<collision>",
        f'<origin xyz="{_text(xyz)}" rpy="{rpy}"/>',
        f"<geometry>\n{geometry}\n</geometry>",
        "</collision>",
    ]


def _visual(geometry: str, material: str, *, xyz: Vector, rpy: str) -> list[str]:
    return [
        "<visual>",
        f'<origin xyz="{_text(xyz)}" rpy="{rpy}"/>',
        f"<geometry>\n{geometry}\n</geometry>",
        f'<material name="{material}"/>',
        "</visual>",
    ]


def _joint(index: int, parent: str, child: str, xyz: Vector, axis: str) -> list[str]:
    """The revolute joint that is named like its child link; `index` is its place in JOINTS."""
    return [
        f'<joint name="{child}" type="revolute">',
        f'<parent link="{parent}"/>',
        f'<child link="{child}"/>',
        f'<origin xyz="{_text(xyz)}" rpy="0 0 0"/>',
        f'<axis xyz="{axis}"/>',
        '<dynamics damping="0" friction="0"/>',
        f'<limit lower="{JOINT_LOW_RAD[index]}" upper="{JOINT_HIGH_RAD[index]}"'
        f' effort="{TORQUE_LIMIT_NM}" velocity="{_JOINT_SPEED_RAD_S}"/>',
        "</joint>",
    ]


def _text(vector: Vector) -> str:
    return " ".join(str(number) for number in vector)
