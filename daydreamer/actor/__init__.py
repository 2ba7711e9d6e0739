"""The process on the robot: control loop, policy runner, recorder. Needs no training code."""
