"""PyBullet twin of the Unitree A1."""
